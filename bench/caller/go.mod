module exectrail.io/bench/caller

go 1.26.0
