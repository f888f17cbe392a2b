package dev.millrace.cuda;

import dev.millrace.core.executor.Device;
import dev.millrace.core.executor.Probe;
import dev.millrace.cuda.driver.Libcuda;
import dev.millrace.cuda.driver.Libcuda.Answer;
import dev.millrace.cuda.driver.Libcuda.DeviceInfo;
import java.util.ArrayList;
import java.util.List;

/** Whether kernels can run here, and if not, why in one line. Asks the driver before any class of JCuda is touched. */
final class CudaProbe {
    /** The CUDA version the kernels were compiled with; machine code of 13.0 needs a driver of that series. */
    static final int NEEDED_DRIVER = 13000;

    /** The oldest compute capability, times ten, that there are kernels for. */
    static final int NEEDED_CAPABILITY = 80;

    /** The least memory with which anything fits. */
    static final long NEEDED_BYTES = 1L << 30;

    private CudaProbe() {}

    static Probe probe() {
        return probe(Libcuda.name());
    }

    /** Asks the driver library of that name. */
    static Probe probe(String library) {
        try {
            return judge(Libcuda.ask(library));
        } catch (IllegalCallerException e) {
            return new Probe.Unavailable("Java may not call native code: start it with --enable-native-access=ALL-UNNAMED");
        } catch (Throwable e) {
            return new Probe.Unavailable(
                    "the NVIDIA driver could not be asked: " + String.valueOf(e).lines().findFirst().orElse(""));
        }
    }

    /** What the driver's answer means. */
    static Probe judge(Answer answer) {
        return switch (answer) {
            case Answer.Missing(String library) ->
                new Probe.Unavailable("no NVIDIA driver (" + library + " not found)");
            case Answer.Broken(String problem) -> new Probe.Unavailable(problem);
            case Answer.Failed(String call, int code) -> new Probe.Unavailable(failed(call, code));
            case Answer.Devices(int version, List<DeviceInfo> devices) -> judge(version, devices);
        };
    }

    private static String failed(String call, int code) {
        return switch (code) {
            case 100 -> "no NVIDIA GPU (" + call + ": no device)";
            case 803 -> "the NVIDIA driver and its kernel module differ (" + call + ": 803): restart after the update";
            case 34, 35 -> "the NVIDIA driver is a stub (" + call + ": " + code + "): install the real one";
            case 999 -> "the NVIDIA driver does not start (" + call + ": 999): see nvidia-smi";
            default -> "the NVIDIA driver refuses (" + call + ": error " + code + "): see nvidia-smi";
        };
    }

    private static Probe judge(int version, List<DeviceInfo> infos) {
        if (version < NEEDED_DRIVER) {
            return new Probe.Unavailable("the NVIDIA driver knows CUDA " + dotted(version) + ", the kernels need "
                    + dotted(NEEDED_DRIVER) + ": update it to release 580 or later");
        }
        if (infos.isEmpty()) {
            return new Probe.Unavailable("no NVIDIA GPU");
        }
        List<DeviceInfo> usable = usable(infos);
        if (usable.isEmpty()) {
            return new Probe.Unavailable(why(infos.getFirst()));
        }
        List<Device> devices = new ArrayList<>();
        for (DeviceInfo info : usable) {
            devices.add(new Device(
                    devices.size(),
                    info.name(),
                    info.totalBytes(),
                    info.multiprocessors() + " multiprocessors, compute capability " + info.capability() / 10 + "."
                            + info.capability() % 10 + ", driver for CUDA " + dotted(version)));
        }
        return new Probe.Available(devices);
    }

    private static List<DeviceInfo> usable(List<DeviceInfo> infos) {
        return infos.stream()
                .filter(i -> i.capability() >= NEEDED_CAPABILITY && i.totalBytes() >= NEEDED_BYTES)
                .toList();
    }

    private static String why(DeviceInfo info) {
        if (info.capability() < NEEDED_CAPABILITY) {
            return info.name() + " is too old: compute capability " + info.capability() / 10 + "."
                    + info.capability() % 10 + ", the kernels need " + NEEDED_CAPABILITY / 10 + ".0";
        }
        return info.name() + " has too little memory: " + (info.totalBytes() >> 20) + " MiB, at least "
                + (NEEDED_BYTES >> 20) + " MiB are needed";
    }

    /** The driver's number of the device that the probe lists as {@code index}. */
    static int ordinal(int index) {
        return Libcuda.ask(Libcuda.name()) instanceof Answer.Devices(int version, List<DeviceInfo> devices)
                ? usable(devices).get(index).ordinal()
                : index;
    }

    private static String dotted(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }
}
