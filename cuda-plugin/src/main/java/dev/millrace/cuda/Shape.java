package dev.millrace.cuda;

/**
 * What the launches of a step depend on; everything else they read from device memory. Steps of one shape can replay
 * one recording.
 *
 * @param output the graph's output that is computed
 * @param rows tokens
 * @param sequences slices
 * @param selected rows of output that were asked for
 * @param longest tokens of the longest slice
 * @param reach see {@link #reach}; 0 where slices are longer than one token
 * @param f32Caches whether a slice's cache is F32
 * @param f16Caches whether a slice's cache is F16
 * @param tokens tokens that the {@link Decoder}'s step makes one after the other; 0 for a forward
 * @param sampled whether the last step's sampler has already looked up the embedding
 * @param draws whether a forward ends in the drawing of the {@link Decoder}'s first token
 */
record Shape(
        String output,
        int rows,
        int sequences,
        int selected,
        int longest,
        int reach,
        boolean f32Caches,
        boolean f16Caches,
        int tokens,
        boolean sampled,
        boolean draws) {

    /** Written out, as is {@link #equals}: what a record brings along takes many microseconds before it is compiled. */
    @Override
    public int hashCode() {
        return output.hashCode() + 31 * (rows + 31 * (sequences + 31 * (selected + 31 * (longest + 31 * (reach + 31 * tokens)))));
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Shape s
                && output.equals(s.output)
                && rows == s.rows
                && sequences == s.sequences
                && selected == s.selected
                && longest == s.longest
                && reach == s.reach
                && f32Caches == s.f32Caches
                && f16Caches == s.f16Caches
                && tokens == s.tokens
                && sampled == s.sampled
                && draws == s.draws;
    }

    /** Whether it is a step of the {@link Decoder}, which has a batch description of its own. */
    boolean decoding() {
        return tokens > 0;
    }

    /** Whether every slice is one token. */
    boolean singles() {
        return longest == 1;
    }

    /** The least power of two from 128 to 4096 that is not below {@code position}; past that, launches do not differ. */
    static int reach(int position) {
        return Math.clamp(Integer.highestOneBit(Math.max(1, position - 1)) << 1, 128, 4096);
    }
}
