# Fits of glm and randomForest for local-ml-r, on requests read from standard input until it ends.
#
# A request: int32 family (1 linear, 2 logistic, 3 forest), size, rows, columns, number of seeds; int32 seeds; float64 table by rows, the
# output last. The answer, one line a seed: score and seconds of the fit, as hexadecimal floats, so that no bit is lost.

split_rows <- function(table) {
  order <- sample.int(nrow(table))
  train <- seq_len((3L * nrow(table)) %/% 4L)
  last <- ncol(table)
  list(x = table[order[train], -last, drop = FALSE], y = table[order[train], last],
       unseen = table[order[-train], -last, drop = FALSE], wanted = table[order[-train], last])
}

r2 <- function(wanted, found) 1 - sum((wanted - found)^2) / sum((wanted - mean(wanted))^2)

linear <- function(part, size) {
  frame <- data.frame(part$x, output = part$y)
  fit <- glm(output ~ ., data = frame, family = gaussian())
  r2(part$wanted, predict(fit, data.frame(part$unseen)))
}

logistic <- function(part, size) {
  middle <- median(part$y)
  frame <- data.frame(part$x, output = part$y > middle)
  fit <- suppressWarnings(glm(output ~ ., data = frame, family = binomial()))  # classes may be separable
  mean((predict(fit, data.frame(part$unseen)) > 0) == (part$wanted > middle))
}

forest <- function(part, size) {
  fit <- randomForest::randomForest(part$x, part$y, ntree = size)
  r2(part$wanted, predict(fit, part$unseen))
}

families <- list(linear, logistic, forest)
input <- file("stdin", "rb")
repeat {
  head <- readBin(input, "integer", 5L, size = 4L)
  if (length(head) < 5L) break
  seeds <- readBin(input, "integer", head[5], size = 4L)
  table <- matrix(readBin(input, "double", head[3] * head[4]), head[3], head[4], byrow = TRUE)
  for (seed in seeds) {
    began <- as.numeric(Sys.time())
    set.seed(seed)
    score <- families[[head[1]]](split_rows(table), head[2])
    cat(sprintf("%a %a\n", score, as.numeric(Sys.time()) - began))
  }
  flush(stdout())
}
