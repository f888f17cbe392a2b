package dev.millrace.cpu.attention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.millrace.core.executor.KvFormat;
import dev.millrace.cpu.kv.KvCache;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlainAttentionTest {
    private static final int HEADS = 2;
    private static final int POSITIONS = 3 * KvCache.TILE - 5;

    @ParameterizedTest
    @CsvSource({"F32, 1, 64", "F32, 5, 20", "F32, 33, 64", "F16, 1, 64", "F16, 2, 128", "F16, 6, 20", "F16, 33, 80"})
    void plainAttentionIsThatOfVectors(KvFormat format, int rows, int headDim) {
        Random random = new Random(rows);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(KvCache.bytes(HEADS, headDim, POSITIONS, format), 64);
            KvCache cache = KvCache.in(memory, 0, HEADS, headDim, POSITIONS, format);
            for (int head = 0; head < HEADS; head++) {
                for (int p = 0; p < POSITIONS; p++) {
                    cache.put(head, p, random(headDim, random), 0, random(headDim, random), 0);
                }
            }
            TileScratch plain = new TileScratch(rows, headDim, arena);
            TileScratch vectors = new TileScratch(rows, headDim, arena);
            System.arraycopy(random(rows * headDim, random), 0, plain.q, 0, rows * headDim);
            System.arraycopy(plain.q, 0, vectors.q, 0, rows * headDim);
            for (int r = 0; r < rows; r++) {
                plain.first[r] = vectors.first[r] = r + 3;
                plain.last[r] = vectors.last[r] = POSITIONS - rows + r;
            }
            plain.clear(rows);
            vectors.clear(rows);
            PlainAttention.add(plain, cache, 1, rows, 3, POSITIONS);
            vectors.addVectors(cache, 1, rows, 3, POSITIONS);
            float[] mine = new float[headDim];
            float[] theirs = new float[headDim];
            for (int r = 0; r < rows; r++) {
                plain.write(r, mine, 0);
                vectors.write(r, theirs, 0);
                assertThat(mine).as("row %d, seed %d", r, rows).containsExactly(theirs, within(2e-5f));
            }
        }
    }

    private static float[] random(int n, Random random) {
        float[] x = new float[n];
        for (int i = 0; i < n; i++) {
            x[i] = (float) random.nextGaussian() * 0.5f;
        }
        return x;
    }
}
