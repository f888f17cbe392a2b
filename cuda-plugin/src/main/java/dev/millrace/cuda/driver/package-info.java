/**
 * A thin layer over the CUDA driver API: the one place that knows JCuda. Addresses are plain {@code long}s, every
 * failure is a {@link dev.millrace.core.MillraceException} that names the call, the driver's code and what to do, and
 * everything that holds something on the device is {@link java.lang.AutoCloseable}.
 */
package dev.millrace.cuda.driver;
