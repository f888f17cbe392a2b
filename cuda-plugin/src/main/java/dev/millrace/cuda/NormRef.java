package dev.millrace.cuda;

/**
 * A norm's constants on the device.
 *
 * @param weight offset of the gain in the program's weights
 * @param bias offset of the bias, or -1
 * @param kind 1 for LAYER, 2 for RMS
 * @param group elements normalized together
 */
record NormRef(long weight, long bias, float epsilon, int kind, int group) {}
