package dev.millrace.models.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.core.tensor.WeightFormat;
import dev.millrace.quant.Views;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GgufTest {
    @TempDir
    Path temp;

    @Test
    void readsEveryValueTypeAndTensorFormatItWrote() {
        Path file = temp.resolve("all.gguf");
        GgufWriter writer = new GgufWriter()
                .string("general.architecture", "llama")
                .u32("llama.block_count", 4294967295L)
                .f32("llama.epsilon", 1e-5f)
                .flag("tokenizer.ggml.add_bos_token", true)
                .strings("tokenizer.ggml.tokens", new String[] {"<s>", "", "\u2581the", "\ud83d\ude00"})
                .floats("tokenizer.ggml.scores", new float[] {0, -1, 2.5f})
                .integers("tokenizer.ggml.token_type", new int[] {3, -1})
                .put("u64", new GgufValue(GgufValue.Type.U64, false, new BigInteger("18446744073709551615")))
                .put("i64", new GgufValue(GgufValue.Type.I64, false, Long.MIN_VALUE))
                .put("f64", new GgufValue(GgufValue.Type.F64, false, Math.PI))
                .put("i8", new GgufValue(GgufValue.Type.I8, false, -5L))
                .put("u8", new GgufValue(GgufValue.Type.U8, false, 250L))
                .put("i16", new GgufValue(GgufValue.Type.I16, false, -30000L))
                .put("u16", new GgufValue(GgufValue.Type.U16, false, 60000L))
                .put("flags", new GgufValue(GgufValue.Type.BOOL, true, new long[] {1, 0, 1}))
                .put("nested", new GgufValue(GgufValue.Type.ARRAY, true, new Object[] {
                    new GgufValue(GgufValue.Type.U8, true, new long[] {1, 2}),
                    new GgufValue(GgufValue.Type.STRING, true, new String[] {"x"})
                }));
        for (WeightFormat format : new WeightFormat[] {
            WeightFormat.F32, WeightFormat.F16, WeightFormat.BF16, WeightFormat.Q4_0, WeightFormat.Q4_1,
            WeightFormat.Q5_0, WeightFormat.Q5_1, WeightFormat.Q8_0
        }) {
            writer.add(format.name(), Views.random("w", new Shape(5, 96), format, 7, 0.02f));
        }
        writer.add("bias", Views.vector("b", 1, 2, 3));
        writer.write(file);
        try (GgufCheckpoint read = GgufCheckpoint.open(file)) {
            GgufMetadata data = read.metadata();
            assertThat(data.architecture()).isEqualTo("llama");
            assertThat(data.values().get("llama.block_count").value()).isEqualTo(4294967295L);
            assertThat(data.number("llama.epsilon")).isEqualTo(1e-5f);
            assertThat(data.findFlag("tokenizer.ggml.add_bos_token")).contains(true);
            assertThat(data.findStrings("tokenizer.ggml.tokens").orElseThrow())
                    .containsExactly("<s>", "", "\u2581the", "\ud83d\ude00");
            assertThat(data.findFloats("tokenizer.ggml.scores").orElseThrow()).containsExactly(0, -1, 2.5f);
            assertThat(data.findIntegers("tokenizer.ggml.token_type").orElseThrow()).containsExactly(3, -1);
            assertThat(data.values().get("u64").value()).isEqualTo(new BigInteger("18446744073709551615"));
            assertThat(data.values().get("i64").value()).isEqualTo(Long.MIN_VALUE);
            assertThat(data.values().get("f64").value()).isEqualTo(Math.PI);
            assertThat(data.integer("i8")).isEqualTo(-5);
            assertThat(data.integer("u8")).isEqualTo(250);
            assertThat(data.integer("i16")).isEqualTo(-30000);
            assertThat(data.integer("u16")).isEqualTo(60000);
            assertThat(data.findIntegers("flags").orElseThrow()).containsExactly(1, 0, 1);
            Object[] nested = (Object[]) data.values().get("nested").value();
            assertThat((String[]) ((GgufValue) nested[1]).value()).containsExactly("x");
            for (Weight weight : writer.tensors().values()) {
                String name = weight.shape().rows() == 1 ? "bias" : weight.format().name();
                assertThat(read.weight(name).format()).isEqualTo(weight.format());
                assertThat(read.weight(name).shape()).isEqualTo(weight.shape());
                assertThat(Arrays.mismatch(read.weight(name).floats(), weight.floats())).isEqualTo(-1);
            }
            assertThat(read.tensor("F32").dims()).containsExactly(5L, 96L);
            assertThatThrownBy(() -> data.integer("absent")).hasMessageContaining("metadata key absent is missing");
            assertThatThrownBy(() -> data.integer("general.architecture"))
                    .hasMessageContaining("all.gguf: metadata key general.architecture: an integer was expected, found STRING llama");
            assertThatThrownBy(() -> data.integer("llama.block_count")).hasMessageContaining("4294967295");
        }
    }

    @Test
    void honoursAnotherAlignment() {
        Path file = temp.resolve("aligned.gguf");
        new GgufWriter().u32("general.alignment", 128).add("a", Views.vector("a", 1, 2)).add("b", Views.vector("b", 3))
                .write(file);
        try (GgufCheckpoint read = GgufCheckpoint.open(file)) {
            assertThat(read.weight("b").floats()).containsExactly(3);
            assertThat(read.tensor("b").data().address() % 128).isZero();
        }
    }

    @Test
    void readsVersionTwo() throws IOException {
        byte[] bytes = small();
        bytes[4] = 2;
        try (GgufCheckpoint read = GgufCheckpoint.open(Files.write(temp.resolve("two.gguf"), bytes))) {
            assertThat(read.weight("m").floats()).hasSize(64);
        }
    }

    @Test
    void otherFilesAndVersionsAreNamed() throws IOException {
        byte[] bytes = small();
        refused(b -> b.put(0, (byte) 'X'), bytes, "not a GGUF file");
        refused(b -> b.putInt(4, 1), bytes, "GGUF version 1 is not read");
        refused(b -> b.putInt(4, 4), bytes, "GGUF version 4 is not read");
        refused(b -> b.putInt(4, 3 << 24), bytes, "big-endian");
        Hostile.refused(GgufCheckpoint::open, Files.write(temp.resolve("empty.gguf"), new byte[0]), "truncated");
        Hostile.refused(GgufCheckpoint::open, temp.resolve("absent.gguf"), "no such file");
    }

    @Test
    void absurdCountsAreRefusedBeforeAnythingIsAllocated() throws IOException {
        byte[] bytes = small();
        for (long count : new long[] {-1, Long.MIN_VALUE, Long.MAX_VALUE, 1L << 40, 1000}) {
            refused(b -> b.putLong(8, count), bytes, "tensor count " + Long.toUnsignedString(count));
            refused(b -> b.putLong(16, count), bytes, "metadata count " + Long.toUnsignedString(count));
        }
        hostile(out -> out.key("k", 9).int32(4).int64(1L << 61), 1, 0, "metadata key k: array length");
        hostile(out -> out.key("k", 9).int32(8).int64(1000), 1, 0, "metadata key k: array length 1000");
        hostile(out -> out.key("k", 8).int64(-1), 1, 0, "metadata key k: a string of 18446744073709551615 bytes");
        hostile(out -> out.int64(1L << 62), 1, 0, "metadata key 0: a string of");
        hostile(out -> out.key("k", 13), 1, 0, "metadata key k: value type 13 is not known");
        hostile(out -> out.key("k", 7).int8(2), 1, 0, "a flag is 2");
        hostile(out -> out.key("k", 4).int32(1).key("k", 4).int32(2), 2, 0, "metadata key k is there twice");
        hostile(out -> out.key("k", 9).int32(9).int64(1).int32(9).int64(1).int32(9).int64(1).int32(9).int64(1), 1, 0,
                "arrays nest deeper than 3");
        hostile(out -> out.key("general.alignment", 4).int32(3), 1, 0, "general.alignment: 3 is no power of two");
        hostile(out -> out.key("general.alignment", 4).int32(0), 1, 0, "general.alignment: 0");
        hostile(out -> out.key("split.count", 2).int16(3), 1, 0, "one of 3 parts");
    }

    @Test
    void lyingTensorsAreRefused() throws IOException {
        hostile(out -> out.tensor("t", 0, 1L << 62, 4).int64(0), 0, 1, "tensor t: dimensions", "overflow");
        hostile(out -> out.tensor("t", 0, -4).int64(0), 0, 1, "tensor t: dimensions [-4] overflow");
        hostile(out -> out.tensor("t", 0, 1L << 40).int64(0), 0, 1, "tensor t: 4398046511104 bytes", "truncated?");
        hostile(out -> out.tensor("t", 0, 4).int64(1L << 40), 0, 1, "tensor t: 16 bytes at offset 1099511627776");
        hostile(out -> out.tensor("t", 0, 4).int64(-32), 0, 1, "tensor t: 16 bytes at offset 18446744073709551584");
        hostile(out -> out.tensor("t", 0, 4).int64(4), 0, 1, "offset 4 is no multiple of the alignment 32");
        hostile(out -> out.tensor("t", 8, 33).int64(0), 0, 1, "rows of 33 elements are no multiple of Q8_0's block of 32");
        hostile(out -> out.tensor("t", 16, 256).int64(0), 0, 1, "tensor t: IQ2_XXS (16) is not read");
        hostile(out -> out.tensor("t", 77, 256).int64(0), 0, 1, "tensor t: type 77 is not read");
        hostile(out -> out.string("t").int32(-1), 0, 1, "tensor t: 4294967295 dimensions");
        hostile(out -> out.tensor("t", 0, 4).int64(0).tensor("t", 0, 4).int64(32), 0, 2, "tensor t is there twice");
        hostile(out -> out.tensor("a", 0, 16).int64(0).tensor("b", 0, 4).int64(32), 0, 2, "tensors a and b overlap at offset 32");
        hostile(out -> out.tensor("t", 0, 0, 4611686018427387904L, 4611686018427387904L).int64(0), 0, 1, "overflow");
    }

    @Test
    void everyTruncationIsRefused() throws IOException {
        byte[] whole = small();
        Path file = temp.resolve("cut.gguf");
        // the last 24 bytes pad the last tensor to the alignment and may be missing
        for (int size = 0; size < whole.length - 24; size++) {
            Files.write(file, Arrays.copyOf(whole, size));
            Hostile.refused(GgufCheckpoint::open, file);
        }
        Files.write(file, Arrays.copyOf(whole, whole.length - 24));
        GgufCheckpoint.open(file).close();
    }

    @Test
    void alteredFilesAreRefusedOrRead() throws IOException {
        byte[] whole = small();
        Hostile.mutations(whole, whole.length - 300, temp.resolve("altered.gguf"), 4000, GgufCheckpoint::open, file -> {
            file.metadata().values().forEach((key, value) -> assertThat(key + value).isNotNull());
            for (Tensor tensor : file.tensors().values()) {
                if (tensor.elements() > 0 && tensor.format().isPresent()) {
                    assertThat(tensor.weight().floats()).hasSize((int) tensor.elements());
                }
            }
        });
    }

    private byte[] small() throws IOException {
        Path file = temp.resolve("small.gguf");
        new GgufWriter()
                .string("general.architecture", "gpt2")
                .u32("gpt2.block_count", 1)
                .strings("tokenizer.ggml.tokens", new String[] {"a", "bc"})
                .add("m", Views.random("m", new Shape(2, 32), WeightFormat.Q8_0, 1, 1))
                .add("f", Views.random("f", new Shape(3, 8), WeightFormat.F16, 1, 1))
                .add("v", Views.vector("v", 1, 2))
                .write(file);
        return Files.readAllBytes(file);
    }

    private void refused(Consumer<ByteBuffer> change, byte[] valid, String message) throws IOException {
        byte[] bytes = valid.clone();
        change.accept(ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN));
        Hostile.refused(GgufCheckpoint::open, Files.write(temp.resolve("changed.gguf"), bytes), message);
    }

    private void hostile(Consumer<Bytes> body, int keys, int tensors, String... messages) throws IOException {
        Bytes bytes = new Bytes();
        bytes.int32(0x46554747).int32(3).int64(tensors).int64(keys);
        body.accept(bytes);
        while (bytes.out.size() % 32 != 0) {
            bytes.int8(0);
        }
        for (int i = 0; i < 64; i++) {
            bytes.int8(i);
        }
        Hostile.refused(GgufCheckpoint::open, Files.write(temp.resolve("hostile.gguf"), bytes.out.toByteArray()), messages);
    }

    /** Little-endian bytes, whatever they mean. */
    private static final class Bytes {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();

        Bytes int8(int value) {
            out.write(value);
            return this;
        }

        Bytes int16(int value) {
            return int8(value).int8(value >> 8);
        }

        Bytes int32(int value) {
            return int16(value).int16(value >> 16);
        }

        Bytes int64(long value) {
            return int32((int) value).int32((int) (value >> 32));
        }

        Bytes string(String text) {
            byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
            int64(utf8.length);
            out.writeBytes(utf8);
            return this;
        }

        Bytes key(String name, int type) {
            return string(name).int32(type);
        }

        /** Everything but the offset. */
        Bytes tensor(String name, int type, long... dims) {
            string(name).int32(dims.length);
            for (long dim : dims) {
                int64(dim);
            }
            return int32(type);
        }
    }
}
