package dev.millrace.cpu.roof;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/** One cache line that two threads write in turn. */
final class PingPong {
    private static final VarHandle BALL = MethodHandles.arrayElementVarHandle(long[].class);
    private static final int MIDDLE = 32;

    /** Only the middle is used: nothing else lies on its cache line. */
    private final long[] line = new long[2 * MIDDLE];

    void reset() {
        BALL.setVolatile(line, MIDDLE, 0L);
    }

    /** Player 0 sends even numbers, player 1 odd ones. */
    void play(int player, int roundTrips) {
        for (long i = 0; i < roundTrips; i++) {
            long expected = 2 * i + player;
            while ((long) BALL.getAcquire(line, MIDDLE) != expected) {
                Thread.onSpinWait();
            }
            BALL.setRelease(line, MIDDLE, expected + 1);
        }
    }
}
