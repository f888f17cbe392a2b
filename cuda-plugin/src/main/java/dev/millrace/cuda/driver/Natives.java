package dev.millrace.cuda.driver;

import jcuda.driver.JCudaDriver;

/** JCuda's native half. */
public final class Natives {
    private Natives() {}

    /**
     * Why JCuda's native library cannot be loaded, in one line; null when it is. Only to be asked where there is a
     * driver: without one JCuda's class stays broken for the life of the JVM.
     */
    public static String problem() {
        try {
            JCudaDriver.setExceptionsEnabled(false);
            return null;
        } catch (LinkageError e) {
            return "JCuda's native library cannot be loaded ("
                    + String.valueOf(e.getMessage()).lines().findFirst().orElse("").strip()
                    + "): put libJCudaDriver into plugins/native/lib or empty the temporary folder of old copies";
        }
    }
}
