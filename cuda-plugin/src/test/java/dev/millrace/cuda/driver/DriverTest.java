package dev.millrace.cuda.driver;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.cuda.GpuOnly;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The layer over the driver, with a kernel in PTX of its own. */
@GpuOnly
class DriverTest {
    /** struct { int* p; int by; }: *p = *p * 3 + by. */
    private static final String PTX =
            """
            .version 8.0
            .target sm_80
            .address_size 64
            .visible .entry step(.param .align 8 .b8 a[16]) {
                .reg .b64 %p;
                .reg .b32 %v, %by;
                ld.param.u64 %p, [a];
                ld.param.u32 %by, [a+8];
                ld.global.u32 %v, [%p];
                mad.lo.s32 %v, %v, 3, %by;
                st.global.u32 [%p], %v;
                ret;
            }
            """;

    private Gpu gpu;
    private GpuStream stream;
    private KernelModule module;
    private DeviceBuffer word;
    private PinnedBuffer host;

    @BeforeEach
    void open() {
        gpu = Gpu.open(0);
        stream = gpu.stream();
        module = gpu.load("step", (PTX + "\0").getBytes(StandardCharsets.US_ASCII));
        word = gpu.allocate(4, "a word");
        host = gpu.pin(64);
        stream.clear(word.address(), 4);
    }

    @AfterEach
    void close() {
        host.close();
        word.close();
        module.close();
        stream.close();
        assertThat(gpu.allocatedBytes()).as("bytes left").isZero();
        gpu.close();
    }

    private void step(int by) {
        stream.arguments().begin().put(word.address()).put(by);
        stream.launch(module.kernel("step"), Geometry.of(1, 1));
    }

    private int word() {
        stream.download(word.address(), host.segment(), 4);
        stream.await();
        return host.segment().get(ValueLayout.JAVA_INT, 0);
    }

    @Test
    void launchesRunInOrderWithTheirOwnArguments() {
        step(1);
        step(2);
        step(3);
        assertThat(word()).isEqualTo((1 * 3 + 2) * 3 + 3);
    }

    @Test
    void aRecordingRunsOnlyWhenReplayed() {
        try (GpuGraph graph = stream.record(() -> {
            step(1);
            step(2);
        })) {
            assertThat(word()).isZero();
            stream.launch(graph);
            stream.launch(graph);
            assertThat(word()).isEqualTo((5 * 3 + 1) * 3 + 2);
        }
    }

    @Test
    void aRecordingThatFailsLeavesTheStreamUsable() {
        assertThatThrownBy(() -> stream.record(() -> {
                    throw new IllegalStateException("stop");
                }))
                .hasMessage("stop");
        step(7);
        assertThat(word()).isEqualTo(7);
    }

    @Test
    void copiesGoThereAndBack() {
        MemorySegment bytes = host.segment();
        for (int i = 0; i < 16; i++) {
            bytes.setAtIndex(ValueLayout.JAVA_INT, i, 1000 + i);
        }
        try (DeviceBuffer a = gpu.allocate(64, "a");
                DeviceBuffer b = gpu.allocate(64, "b")) {
            stream.upload(bytes, a.address(), 64);
            stream.copy(a.address(), b.address(), 64);
            stream.await();
            bytes.fill((byte) 0);
            stream.download(b.address(), bytes, 64);
            stream.await();
            for (int i = 0; i < 16; i++) {
                assertThat(bytes.getAtIndex(ValueLayout.JAVA_INT, i)).isEqualTo(1000 + i);
            }
        }
    }

    @Test
    void aLaunchThatMayStartEarlyStillSeesWhatCameBefore() {
        for (int i = 1; i <= 3; i++) {
            stream.arguments().begin().put(word.address()).put(i);
            if (i == 1 || !stream.overlaps()) {
                stream.launch(module.kernel("step"), Geometry.of(1, 1));
            } else {
                stream.await();
                stream.launchDependent(module.kernel("step"), Geometry.of(1, 1));
            }
        }
        assertThat(word()).isEqualTo((1 * 3 + 2) * 3 + 3);
    }

    @Test
    void eventsTellTime() {
        try (GpuEvent before = gpu.event();
                GpuEvent after = gpu.event()) {
            stream.mark(before);
            for (int i = 0; i < 100; i++) {
                step(1);
            }
            stream.mark(after);
            after.await();
            assertThat(after.millisSince(before)).isPositive();
        }
    }

    @Test
    void failuresNameTheCallTheCodeAndWhatToDo() {
        assertThatThrownBy(() -> module.kernel("no_such_kernel"))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("no_such_kernel")
                .hasMessageContaining("rebuild");
        assertThatThrownBy(() -> gpu.allocate(1L << 50, "too much"))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("too much")
                .hasMessageContaining("MiB free");
        assertThatThrownBy(() -> gpu.load("rubbish", new byte[] {1, 2, 3, 0}))
                .isInstanceOf(MillraceException.class)
                .hasMessageContaining("cuModuleLoadData")
                .hasMessageContaining("CUDA_ERROR");
        assertThatThrownBy(() -> Gpu.open(999)).isInstanceOf(MillraceException.class).hasMessageContaining("999");
    }
}
