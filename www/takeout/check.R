# Recomputes mixwell's numbers with posterior:  install.packages(c("jsonlite", "posterior"));  Rscript check.R FILE.json
run <- jsonlite::fromJSON(commandArgs(trailingOnly = TRUE)[1])
ours <- jsonlite::fromJSON(run$attrs$numbers)
far <- 0
for (name in names(ours)) {
  x <- t(run$posterior[[name]]) # posterior wants draws × chains
  theirs <- list(rhat = posterior::rhat(x), ess_bulk = posterior::ess_bulk(x), ess_tail = posterior::ess_tail(x), mcse_mean = posterior::mcse_mean(x))
  for (what in names(theirs)) if (!is.null(ours[[name]][[what]])) {
    gap <- abs(theirs[[what]] - ours[[name]][[what]]) / abs(theirs[[what]])
    cat(sprintf("%10s %-10s mixwell %-20.12g posterior %-20.12g relative difference %.1e\n", name, what, ours[[name]][[what]], theirs[[what]], gap))
    far <- max(far, gap)
  }
}
quit(status = if (is.finite(far) && far <= 1e-6) 0 else 1)
