/**
 * The CUDA executor. A graph is lowered to steps ({@link dev.millrace.cuda.Lowering}); a step launches kernels for a
 * shape ({@link dev.millrace.cuda.Emission}); launches of a shape are recorded once and replayed ({@link
 * dev.millrace.cuda.Recordings}). Kernels and the structs they take are in {@code src/main/cuda}.
 */
package dev.millrace.cuda;
