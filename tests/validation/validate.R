# The regression over pairs, by R: Rscript validate.R pairs.csv permutations results.json
# pairs.csv has a row a pair used: i, j (from 0, i < j), cosine, co, sim (centred). Permutations need all pairs.

suppressPackageStartupMessages({
  library(sandwich)
  library(sna)
  library(jsonlite)
})

arguments <- commandArgs(trailingOnly = TRUE)
pairs <- read.csv(arguments[1])
permutations <- as.integer(arguments[2])
nodes <- sort(unique(c(pairs$i, pairs$j)))

fitted <- lm(cosine ~ co * sim, data = pairs)

# Every two pairs that share a feature may depend on one another: scores summed by feature, each pair's own
# square counted once.
scores <- estfun(fitted)
by_node <- t(sapply(nodes, function(node) colSums(scores[pairs$i == node | pairs$j == node, , drop = FALSE])))
inverse <- summary(fitted)$cov.unscaled
dyadic <- inverse %*% (crossprod(by_node) - crossprod(scores)) %*% inverse

without <- t(sapply(nodes, function(node) {
  coef(lm(cosine ~ co * sim, data = pairs[pairs$i != node & pairs$j != node, ]))
}))
centred <- sweep(without, 2, colMeans(without))
jackknife <- (length(nodes) - 1) / length(nodes) * crossprod(centred)

indicators <- sapply(nodes, function(node) (pairs$i == node) + (pairs$j == node))
effects <- lm(cosine ~ 0 + indicators + co * sim, data = pairs)
slopes <- c("co", "sim", "co:sim")

results <- list(
  provenance = list(
    R = R.version.string,
    sandwich = as.character(packageVersion("sandwich")),
    sna = as.character(packageVersion("sna"))
  ),
  coef = unname(coef(fitted)),
  se_naive = unname(sqrt(diag(vcov(fitted)))),
  dyadic = unname(dyadic),
  jackknife = unname(jackknife),
  effects_coef = unname(coef(effects)[slopes]),
  effects_se_naive = unname(sqrt(diag(vcov(effects)))[slopes]),
  effects_se_hc1 = unname(sqrt(diag(vcovHC(effects, type = "HC1")))[slopes])
)
for (type in c("HC0", "HC1", "HC2", "HC3")) {
  results[[paste0("se_", tolower(type))]] <- unname(sqrt(diag(vcovHC(fitted, type = type))))
}

if (permutations > 0) {
  square <- function(values) {
    full <- matrix(0, length(nodes), length(nodes))
    full[cbind(pairs$i + 1, pairs$j + 1)] <- values
    full + t(full)
  }
  set.seed(1)
  product <- square(pairs$co * pairs$sim)
  permuted <- netlm(square(pairs$cosine), list(square(pairs$co), square(pairs$sim), product),
    mode = "graph", nullhyp = "qapspp", test.statistic = "t-value", reps = permutations
  )
  results$netlm_p_two <- permuted$pgreqabs[-1]
  results$netlm_null_sd <- unname(apply(permuted$dist, 2, sd)[-1])
  results$permutations <- permutations
}

write_json(results, arguments[3], digits = NA, auto_unbox = TRUE, pretty = TRUE)
