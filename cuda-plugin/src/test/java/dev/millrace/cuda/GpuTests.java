package dev.millrace.cuda;

import static org.junit.platform.engine.discovery.ClassNameFilter.includeClassNamePatterns;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectPackage;

import java.io.PrintWriter;
import java.util.Arrays;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;

/**
 * Runs every test that a GPU has part in, without a build tool: the plugin's own and, where their classes are on the
 * class path, the golden models. Exits with 1 when one failed, or when no GPU was found and so nothing was shown.
 */
public final class GpuTests {
    private GpuTests() {}

    public static void main(String[] args) {
        LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request()
                .selectors(selectPackage("dev.millrace.cuda"), selectPackage("dev.millrace.models"))
                .filters(includeClassNamePatterns("dev\\.millrace\\.cuda\\..*Test", "dev\\.millrace\\.models\\..*Golden.*Test"))
                .build();
        SummaryGeneratingListener summary = new SummaryGeneratingListener();
        LauncherFactory.create().execute(request, summary);
        PrintWriter out = new PrintWriter(System.out, true);
        summary.getSummary().printFailuresTo(out, 3);
        summary.getSummary().printTo(out);
        boolean gpu = new CudaProvider().probe() instanceof dev.millrace.core.executor.Probe.Available;
        if (!gpu) {
            out.println("no GPU: " + Arrays.asList(new CudaProvider().probe()));
        }
        System.exit(gpu && summary.getSummary().getTotalFailureCount() == 0 ? 0 : 1);
    }
}
