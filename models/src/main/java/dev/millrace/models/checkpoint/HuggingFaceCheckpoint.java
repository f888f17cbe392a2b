package dev.millrace.models.checkpoint;

import dev.millrace.quant.Gptq;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import tools.jackson.databind.JsonNode;

/**
 * A directory as Hugging Face's transformers writes it: config.json, model.safetensors or several shards with
 * model.safetensors.index.json, and the tokenizer's files.
 */
public final class HuggingFaceCheckpoint implements Checkpoint {
    private static final String SINGLE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";

    private final Path path;
    private final Path directory;
    private final JsonNode config;
    private final List<Safetensors> files;
    private final Map<String, Tensor> tensors;
    private final Set<String> unlisted;
    private final Optional<GptqConfig> gptq;

    private HuggingFaceCheckpoint(
            Path path, Path directory, List<Safetensors> files, Map<String, Tensor> tensors, Set<String> unlisted) {
        this.path = path;
        this.directory = directory;
        this.files = files;
        this.tensors = Collections.unmodifiableMap(tensors);
        this.unlisted = Collections.unmodifiableSet(unlisted);
        this.config = Json.read(directory.resolve("config.json"));
        this.gptq = GptqConfig.find(directory, config);
    }

    /** Opens a directory, or one .safetensors file with config.json beside it. */
    public static HuggingFaceCheckpoint open(Path path) {
        List<Safetensors> files = new ArrayList<>();
        try {
            if (Files.isDirectory(path)) {
                if (!Files.exists(path.resolve("config.json"))) {
                    throw Bad.file(path, "no config.json and no .gguf file in this directory");
                }
                Path index = path.resolve(INDEX);
                if (!Files.exists(path.resolve(SINGLE)) && Files.exists(index)) {
                    return sharded(path, index, files);
                }
            }
            boolean directory = Files.isDirectory(path);
            Path file = directory ? path.resolve(SINGLE) : path;
            if (directory && !Files.exists(file)) {
                throw Bad.file(path, "neither " + SINGLE + " nor " + INDEX + (hasPickle(path)
                        ? "; pytorch_model.bin is not read, convert it to safetensors" : ""));
            }
            files.add(Safetensors.open(file));
            Map<String, Tensor> tensors = files.getFirst().tensors();
            return new HuggingFaceCheckpoint(path, directory ? path : parent(file), files, tensors, Set.of());
        } catch (RuntimeException | Error e) {
            files.forEach(Safetensors::close);
            throw e;
        }
    }

    private static Path parent(Path file) {
        Path parent = file.toAbsolutePath().getParent();
        return file.getParent() != null ? file.getParent() : parent;
    }

    private static boolean hasPickle(Path directory) {
        return Files.exists(directory.resolve("pytorch_model.bin"))
                || Files.exists(directory.resolve("pytorch_model.bin.index.json"));
    }

    private static HuggingFaceCheckpoint sharded(Path directory, Path index, List<Safetensors> files) {
        JsonNode map = Json.read(index).get("weight_map");
        if (map == null || !map.isObject() || map.isEmpty()) {
            throw Bad.file(index, "no weight_map");
        }
        Map<String, Safetensors> shards = new LinkedHashMap<>();
        Map<String, String> owners = new LinkedHashMap<>();
        map.properties().forEach(e -> owners.put(e.getKey(), shardName(index, e.getKey(), e.getValue())));
        for (String shard : new LinkedHashSet<>(owners.values())) {
            if (!Files.exists(directory.resolve(shard))) {
                long tensors = owners.values().stream().filter(shard::equals).count();
                throw Bad.file(directory, "shard " + shard + " is missing, which holds " + tensors + " of the model's "
                        + owners.size() + " tensors");
            }
            Safetensors file = Safetensors.open(directory.resolve(shard));
            files.add(file);
            shards.put(shard, file);
        }
        Map<String, Tensor> all = new LinkedHashMap<>();
        shards.forEach((shard, file) -> file.tensors().forEach((name, tensor) -> {
            Tensor other = all.putIfAbsent(name, tensor);
            if (other != null) {
                throw Bad.file(directory, "tensor " + name + " is in two shards, " + other.file().getFileName()
                        + " and " + shard);
            }
        }));
        List<String> missing = owners.entrySet().stream()
                .filter(e -> !shards.get(e.getValue()).tensors().containsKey(e.getKey()))
                .map(e -> e.getKey() + " (" + e.getValue() + ")")
                .toList();
        if (!missing.isEmpty()) {
            throw Bad.file(index, missing.size() + " tensors are not in the shards it names: "
                    + String.join(", ", missing.subList(0, Math.min(5, missing.size())))
                    + (missing.size() > 5 ? ", ..." : ""));
        }
        Set<String> unlisted = new LinkedHashSet<>(all.keySet());
        unlisted.removeAll(owners.keySet());
        return new HuggingFaceCheckpoint(directory, directory, files, all, unlisted);
    }

    private static String shardName(Path index, String tensor, JsonNode value) {
        String name = value.isString() ? value.stringValue() : "";
        if (name.isEmpty() || name.contains("/") || name.contains("\\") || name.contains("\0") || name.equals("..")) {
            throw Bad.file(index, "weight_map " + tensor + ": " + value + " is not the name of a file in this directory");
        }
        return name;
    }

    @Override
    public Path path() {
        return path;
    }

    /** The directory of config.json and the tokenizer's files. */
    public Path directory() {
        return directory;
    }

    public JsonNode config() {
        return config;
    }

    /**
     * Another JSON file of the directory, such as generation_config.json; empty where there is none.
     *
     * @throws MillraceException when it is there but cannot be read
     */
    public Optional<JsonNode> json(String name) {
        Path file = directory.resolve(name);
        return Files.exists(file) ? Optional.of(Json.read(file)) : Optional.empty();
    }

    @Override
    public Map<String, Tensor> tensors() {
        return tensors;
    }

    /** Tensors that lie in a shard although the index does not list them. */
    public Set<String> unlisted() {
        return unlisted;
    }

    /** How the linear weights are quantized, where they are GPTQ's. */
    public Optional<GptqConfig> gptq() {
        return gptq;
    }

    /**
     * The linear layer whose tensors begin with {@code prefix}, such as model.layers.0.mlp.up_proj, where GPTQ quantized
     * it; empty where it is stored plainly.
     *
     * @throws dev.millrace.core.MillraceException naming the tensor that is missing or wrong
     */
    public Optional<Gptq> gptq(String prefix) {
        if (!has(prefix + ".qweight")) {
            return Optional.empty();
        }
        GptqConfig config = gptq.orElseThrow(() -> Bad.file(directory, "tensor " + prefix
                + ".qweight is there, but neither quantize_config.json nor config.json's quantization_config"));
        return Optional.of(config.linear(this, prefix));
    }

    @Override
    public void close() {
        files.forEach(Safetensors::close);
    }
}
