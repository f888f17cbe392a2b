package dev.millrace.core.sampling;

/**
 * Random numbers without state: the same (seed, position, index) gives the same number everywhere, in any order. The
 * mixing function is SplitMix64's (Steele, Lea and Flood, 2014).
 */
public final class CounterRng {
    private static final long GOLDEN = 0x9E3779B97F4A7C15L;

    private CounterRng() {}

    /** The key of all numbers of one position of one seed. */
    public static long key(long seed, long position) {
        return mix(seed + GOLDEN * (position + 1));
    }

    /** A uniform number in (0, 1), one of 2^24 evenly spaced ones. */
    public static float uniform(long key, int index) {
        long bits = mix(key + GOLDEN * (index + 1L));
        return ((bits >>> 40) + 0.5f) * 0x1p-24f;
    }

    /** A draw from the standard Gumbel distribution: -ln(-ln(u)). */
    public static float gumbel(long key, int index) {
        return (float) -Math.log(-Math.log(uniform(key, index)));
    }

    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}
