package dev.millrace.cuda;

import dev.millrace.core.MillraceException;
import dev.millrace.cuda.driver.Gpu;
import dev.millrace.cuda.driver.Kernel;
import dev.millrace.cuda.driver.KernelModule;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/** The compiled kernels that the plugin carries. A module is loaded when its first kernel is asked for. */
final class Kernels implements AutoCloseable {
    private static final String FOLDER = "kernels/";

    private final Gpu gpu;
    private final Map<String, String> moduleOf;
    private final Map<String, KernelModule> modules = new HashMap<>();
    private final Map<String, Kernel> kernels = new HashMap<>();

    Kernels(Gpu gpu) {
        this.gpu = gpu;
        this.moduleOf = index();
    }

    /** The kernels that the plugin carries, each with its module. */
    static Map<String, String> index() {
        return pairs("kernels.index", 0);
    }

    /** The modules, each with the hash of the sources that it was compiled from. */
    static Map<String, String> sourceHashes() {
        return pairs("kernels.sha256", 1);
    }

    /** Lines of two words, of which {@code key} is the one to look up. */
    private static Map<String, String> pairs(String name, int key) {
        Map<String, String> pairs = new HashMap<>();
        String text = new String(resource(name), StandardCharsets.UTF_8);
        text.lines().map(line -> line.split(" ")).forEach(pair -> pairs.put(pair[key], pair[1 - key]));
        return pairs;
    }

    /** The kernel of that name. */
    Kernel get(String name) {
        Kernel kernel = kernels.get(name);
        if (kernel == null) {
            String module = moduleOf.get(name);
            if (module == null) {
                throw new MillraceException("CUDA: the plugin carries no kernel " + name + "; rebuild it");
            }
            kernel = modules.computeIfAbsent(module, m -> gpu.load(m, resource(m + ".fatbin"))).kernel(name);
            kernels.put(name, kernel);
        }
        return kernel;
    }

    private static byte[] resource(String name) {
        try (InputStream in = Kernels.class.getResourceAsStream(FOLDER + name)) {
            if (in == null) {
                throw new MillraceException("CUDA: the plugin's jar holds no " + FOLDER + name + "; rebuild it");
            }
            return in.readAllBytes();
        } catch (IOException e) {
            throw new MillraceException("CUDA: the plugin's jar cannot be read: " + e.getMessage(), e);
        }
    }

    @Override
    public void close() {
        modules.values().forEach(KernelModule::close);
        modules.clear();
        kernels.clear();
    }
}
