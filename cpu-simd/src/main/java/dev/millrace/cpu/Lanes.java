package dev.millrace.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The vector width that every kernel of this executor uses: the machine's preferred one, or what the system property
 * {@value #PROPERTY} (128, 256 or 512) asks for, which is for tests. All species are constants to the compiler.
 */
public final class Lanes {
    /** System property that overrides the width, in bits. */
    public static final String PROPERTY = "millrace.cpu.bits";

    /** Bits of the machine's preferred vector. */
    public static final int PREFERRED_BITS = FloatVector.SPECIES_PREFERRED.vectorBitSize();

    /** Bits of a vector. */
    public static final int BITS = bits();

    public static final VectorSpecies<Float> F = VectorShape.forBitSize(BITS).withLanes(float.class);
    public static final VectorSpecies<Integer> I = VectorShape.forBitSize(BITS).withLanes(int.class);
    public static final VectorSpecies<Short> S = VectorShape.forBitSize(BITS).withLanes(short.class);
    /** As many 16-bit lanes as {@link #F} has floats; vectors of half the width. */
    public static final VectorSpecies<Short> HALF_S = HalfWidth.SHORTS;

    /** Floats in a vector. */
    public static final int COUNT = F.length();

    private Lanes() {}

    /** {@code n} rounded up to whole vectors. */
    public static int padded(int n) {
        return Math.addExact(n, COUNT - 1) / COUNT * COUNT;
    }

    private static int bits() {
        String asked = System.getProperty(PROPERTY);
        if (asked == null) {
            return Math.clamp(PREFERRED_BITS, 128, 512);
        }
        return switch (asked) {
            case "128", "256", "512" -> Integer.parseInt(asked);
            default -> throw new IllegalArgumentException(PROPERTY + " is " + asked + ": must be 128, 256 or 512");
        };
    }

    private static final class HalfWidth {
        static final VectorSpecies<Short> SHORTS = switch (BITS) {
            case 128 -> ShortVector.SPECIES_64;
            case 256 -> ShortVector.SPECIES_128;
            default -> ShortVector.SPECIES_256;
        };
    }
}
