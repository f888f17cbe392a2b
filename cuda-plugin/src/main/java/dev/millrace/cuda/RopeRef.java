package dev.millrace.cuda;

import dev.millrace.core.graph.RopeFrequencies;

/** A rotation of heads of {@code headDim} elements by a table of angles. */
record RopeRef(int headDim, boolean interleaved, Table table) {

    /**
     * Cosines and sines of every row's angles, computed once a step.
     *
     * @param inverse offset of the frequencies, double, in the program's weights
     */
    record Table(String name, int rotaryDim, RopeFrequencies frequencies, long inverse) {
        int pairs() {
            return rotaryDim / 2;
        }

        /** Pairs from one row's to the next row's. */
        int ld() {
            return pairs();
        }

        long rowBytes() {
            return 8L * ld();
        }
    }
}
