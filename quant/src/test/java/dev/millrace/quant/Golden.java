package dev.millrace.quant;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Values written by ggml itself: {@code blocks} by its quantization, {@code more-blocks} by its shared library. */
final class Golden {
    private final byte[] file;
    private final String header;

    private Golden(byte[] file) {
        this.file = file;
        long length = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).getLong();
        this.header = new String(file, 8, (int) length, StandardCharsets.UTF_8);
    }

    static Golden open(String name) {
        try (var in = Golden.class.getResourceAsStream("/ggml/" + name + ".safetensors")) {
            return new Golden(in.readAllBytes());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    byte[] bytes(String tensor) {
        Matcher offsets = Pattern.compile(
                        "\"" + Pattern.quote(tensor) + "\":\\s*\\{[^}]*\"data_offsets\":\\s*\\[(\\d+),\\s*(\\d+)]")
                .matcher(header);
        if (!offsets.find()) {
            throw new IllegalArgumentException("no tensor " + tensor);
        }
        int data = 8 + header.getBytes(StandardCharsets.UTF_8).length;
        return Arrays.copyOfRange(
                file, data + Integer.parseInt(offsets.group(1)), data + Integer.parseInt(offsets.group(2)));
    }

    float[] floats(String tensor) {
        byte[] bytes = bytes(tensor);
        float[] values = new float[bytes.length / 4];
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return values;
    }
}
