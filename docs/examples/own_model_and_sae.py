"""Your own model and SAE, from weights on disk to a page.

Set MODEL to a folder in Hugging Face format and SAE to a folder in SAELens' format, or leave SAE as it is:
then a small dictionary is trained first. As it stands the script takes a minute or two on two quiet cores,
and its numbers mean nothing.
"""

import sys
from pathlib import Path

import compare
from compare.arms import models_behind
from compare.nulls import GaussianSurrogate
from real.config import RealConfig, SAEConfig
from real.sae_on_text import train_on_text
from real.system import RealSystem

OUT = Path(sys.argv[1] if len(sys.argv) > 1 else "own-model")
MODEL, SITE, TEXT = "bundled", "blocks.0.hook_mlp_out", "bundled"
SAE = OUT / "sae"

reads = RealConfig(model=MODEL, site=SITE, text=TEXT, n_tokens=2000)
if not SAE.is_dir():
    small = SAEConfig(n_features=256, k=16, n_activations=16_384, part=8192, warmup_steps=2)
    train_on_text(small, reads, SAE)

measured = RealConfig(model=MODEL, site=SITE, text=TEXT, sae=str(SAE), n_tokens=2000)
system = RealSystem.load(measured)
evidence = compare.measure(system)
print(evidence.summary())

# The same features fed Gaussian inputs of the same mean and covariance: what geometry gives by itself.
assert evidence.input_mean is not None  # both are there, since an SAE has an encoder
assert evidence.input_covariance is not None
surrogate = compare.measure(GaussianSurrogate(system, evidence.input_mean, evidence.input_covariance, seed=0))

config = compare.ReportConfig(min_count=10, max_features=96)
models = models_behind(measured, [measured.sae])  # how good they are; verdicts are held to it
results = compare.test(evidence, controls=surrogate, models=models, config=config)
print(results.summary())
print(results.verdicts[["id", "verdict", "reason"]].head(6).to_string(index=False))
print("The page lies at", compare.report(results, OUT / "report"))
