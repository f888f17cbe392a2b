// What the host tells of a chunk of a batch, in memory that kernels read over the bus (BatchMessage.java); in ints: Sampling
// (8) and the Seq that is sampled for (12, 4 unused); for every slice its Seq (12), how many of its last rows are wanted, how
// many before it are, whether it has types, 1 unused; the tokens of all rows; their types.
#pragma once
#include "abi.cuh"

#define MESSAGE_HEAD 24
#define MESSAGE_SLICE 16

// Makes the tables of b, and, where next is not null, Sampling and Seq behind each other there.
// launch grid(ceil(maxCount / 256), nSeqs), block(256)
struct DescribeArgs { const volatile int* message; BatchRef b; int* next; u64* mark; };
