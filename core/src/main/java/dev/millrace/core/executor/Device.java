package dev.millrace.core.executor;

/**
 * A device that an executor can run on.
 *
 * @param index its number among the executor's devices, from 0
 * @param name the vendor's name of it
 * @param memoryBytes memory it has in all; 0 when unknown
 * @param detail what decides its speed, for people: vector width and workers, or multiprocessors and driver
 */
public record Device(int index, String name, long memoryBytes, String detail) {}
