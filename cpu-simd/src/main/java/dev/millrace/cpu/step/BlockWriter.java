package dev.millrace.cpu.step;

import dev.millrace.cpu.matmul.Rows;

/** A step that may leave its output in blocks of tokens, as the linear map behind it, which alone reads it, takes many. */
public interface BlockWriter {
    /** Where so many rows of output lie in blocks; null when they lie in rows. */
    Rows blocks(int rows);
}
