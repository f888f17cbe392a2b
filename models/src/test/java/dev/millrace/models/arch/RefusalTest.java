package dev.millrace.models.arch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.millrace.core.MillraceException;
import dev.millrace.core.tensor.Shape;
import dev.millrace.core.tensor.Weight;
import dev.millrace.models.checkpoint.Checkpoint;
import dev.millrace.models.checkpoint.GgufCheckpoint;
import dev.millrace.models.checkpoint.GgufWriter;
import dev.millrace.quant.Views;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** What is refused, and in which words: every switch by its name, every missing tensor by its own. */
class RefusalTest {
    private static final String GPT2 = """
            {"model_type": "gpt2", "vocab_size": 11, "n_positions": 7, "n_embd": 6, "n_head": 2, "n_layer": 1}""";
    private static final String LLAMA = """
            {"model_type": "llama", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
             "num_attention_heads": 2, "max_position_embeddings": 16}""";
    private static final String BERT = """
            {"model_type": "bert", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
             "num_attention_heads": 2, "max_position_embeddings": 16}""";

    private static Settings settings(String base, String... changes) {
        ObjectNode config = (ObjectNode) JsonMapper.shared().readTree(base);
        for (String change : changes) {
            ObjectNode more = (ObjectNode) JsonMapper.shared().readTree("{" + change.replace('\'', '"') + "}");
            config.setAll(more);
        }
        return new Settings("config.json", config);
    }

    private static String refusal(String base, String... changes) {
        try {
            Architectures.read(settings(base, changes));
        } catch (MillraceException e) {
            assertThat(e.getMessage()).doesNotContain("\n");
            return e.getMessage();
        }
        throw new AssertionError("accepted");
    }

    @Test
    void anArchitectureThatIsNotKnownIsNamedBesideThoseThatAre() {
        assertThat(refusal(GPT2, "'model_type': 'mamba'"))
                .isEqualTo("config.json: architecture mamba is not supported; known are: bert, distilbert, gpt2, llama,"
                        + " mistral, qwen2, qwen3, roberta, xlm-roberta");
        assertThat(refusal("{}")).startsWith("config.json: model_type is missing; known are: bert, ");
        assertThat(refusal(LLAMA, "'architectures': ['LlamaForSequenceClassification']"))
                .isEqualTo("config.json: a checkpoint of LlamaForSequenceClassification is not supported; of llama there"
                        + " are: LlamaForCausalLM, LlamaModel");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            'add_cross_attention': true | add_cross_attention = true is not supported: there is no encoder to attend to
            'activation_function': 'quick_gelu' | activation_function is "quick_gelu", expected gelu, gelu_new, gelu_pytorch_tanh, relu, silu or tanh
            'n_head': 4 | n_head is 4, expected a number of heads that divides n_embd 6
            'n_layer': 0 | n_layer is 0, expected a whole number of at least 1
            'n_layer': '12' | n_layer is "12", expected a whole number of at least 1
            'n_layer': 1e30 | n_layer is 1.0E30, expected a whole number of at least 1
            'n_layer': null | n_layer is missing
            'n_layer': 2000000000 | n_layer is 2000000000, expected at most 16777216
            'n_layer': 1000000 | n_layer is 1000000, expected at most 4096
            'vocab_size': 2147483647 | vocab_size is 2147483647, expected at most 16777216
            'layer_norm_epsilon': 0 | layer_norm_epsilon is 0, expected a number above 0
            'scale_attn_weights': 1 | scale_attn_weights is 1, expected true or false
            'parallel_attention': true | parallel_attention = true is not known to the gpt2 reader and may change what the model computes; remove the key if it does not
            'eos_token_id': 'x' | eos_token_id is "x", expected a token id or a list of them
            """)
    void gpt2RefusesWhatItCannotHonour(String change, String message) {
        assertThat(refusal(GPT2, change)).isEqualTo("config.json: " + message);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            'partial_rotary_factor': 0.5 | partial_rotary_factor other than 1 is not supported
            'num_key_value_heads': 3 | num_key_value_heads is 3, expected a number that divides num_attention_heads 2
            'num_attention_heads': 8000000, 'head_dim': 16 | num_attention_heads is 8000000, expected heads of 16 elements that make a width of at most 16777216
            'head_dim': 5 | heads of 5 elements cannot be rotated in pairs
            'layer_types': ['full_attention'] | layer_types names 1 layers of num_hidden_layers 2
            'layer_types': ['full_attention', 'linear_attention'] | layer_types is ["full_attention","linear_attention"], expected full_attention or sliding_attention
            'layer_types': ['full_attention', 'sliding_attention'] | layer_types says sliding_attention for layer 1, which does not fit the llama reader's sliding window of 0
            'attention_multiplier': 0.5 | attention_multiplier = 0.5 is not known to the llama reader and may change what the model computes; remove the key if it does not
            'quantization_config': {'quant_method': 'awq'} | quantization_config = {"quant_method":"awq"} is not known to the llama reader and may change what the model computes; remove the key if it does not
            """)
    void llamaRefusesWhatItCannotHonour(String change, String message) {
        assertThat(refusal(LLAMA, change)).isEqualTo("config.json: " + message);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
            'is_decoder': true | is_decoder = true is not supported: use a decoder architecture
            'position_embedding_type': 'relative_key' | position_embedding_type is "relative_key", expected absolute
            'hidden_size': 9 | num_attention_heads is 2, expected a number of heads that divides 9
            'architectures': ['BertForTokenClassification'] | a checkpoint of BertForTokenClassification is not supported; of bert there are: BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining, BertForSequenceClassification, BertModel
            """)
    void bertRefusesWhatItCannotHonour(String change, String message) {
        assertThat(refusal(BERT, change)).isEqualTo("config.json: " + message);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "'use_cache': false", "'torch_dtype': 'bfloat16'", "'_attn_implementation': 'sdpa'",
                "'unknown_switch': false", "'unknown_list': []", "'unknown_note': null", "'pruned_heads': {}",
                "'quantization_config': null", "'attn_pdrop': 0.1", "'eos_token_id': [1, 2]", "'bos_token_id': -1"
            })
    void keysThatChangeNothingAreNoReasonToRefuse(String change) {
        for (String base : new String[] {GPT2, LLAMA, BERT}) {
            assertThatCode(() -> Architectures.read(settings(base, change))).doesNotThrowAnyException();
        }
    }

    @Test
    void severalEndsAndBeginningsAreRead() {
        ModelConfig config = Architectures.read(settings(LLAMA, "'eos_token_id': [3, 4], 'bos_token_id': 1"))
                .config();
        assertThat(config.eos()).containsExactly(3, 4);
        assertThat(config.bos()).containsExactly(1);
        assertThat(config.kvHeads()).isEqualTo(2);
        assertThat(config.headDim()).isEqualTo(4);
        assertThat(config.tied()).isFalse();
    }

    /** Tensors from memory. */
    private record Tensors(Map<String, Weight> all) implements TensorSource {
        @Override
        public String origin() {
            return "model";
        }

        @Override
        public Collection<String> names() {
            return all.keySet();
        }

        @Override
        public Weight get(String name, Shape shape) {
            return all.get(name);
        }

        @Override
        public boolean conv1d() {
            return true;
        }
    }

    private static Map<String, Weight> gpt2() {
        Map<String, Weight> all = new LinkedHashMap<>();
        put(all, "wte.weight", 11, 6);
        put(all, "wpe.weight", 7, 6);
        for (String norm : new String[] {"h.0.ln_1", "h.0.ln_2", "ln_f"}) {
            put(all, norm + ".weight", 1, 6);
            put(all, norm + ".bias", 1, 6);
        }
        put(all, "h.0.attn.c_attn.weight", 6, 18);
        put(all, "h.0.attn.c_attn.bias", 1, 18);
        put(all, "h.0.attn.c_proj.weight", 6, 6);
        put(all, "h.0.attn.c_proj.bias", 1, 6);
        put(all, "h.0.mlp.c_fc.weight", 6, 24);
        put(all, "h.0.mlp.c_fc.bias", 1, 24);
        put(all, "h.0.mlp.c_proj.weight", 24, 6);
        put(all, "h.0.mlp.c_proj.bias", 1, 6);
        return all;
    }

    private static void put(Map<String, Weight> all, String name, int rows, int columns) {
        all.put(name, Views.of(name, new Shape(rows, columns), new float[rows * columns]));
    }

    private static ModelGraph build(Map<String, Weight> all) {
        return Architectures.build("tiny", settings(GPT2), new Tensors(all));
    }

    @Test
    void allMissingTensorsAreNamedInOneMessage() {
        Map<String, Weight> all = gpt2();
        all.remove("h.0.ln_2.bias");
        all.remove("h.0.mlp.c_fc.weight");
        all.remove("wpe.weight");
        assertThatThrownBy(() -> build(all))
                .isInstanceOf(MillraceException.class)
                .hasMessage("model: 3 tensors are missing: wpe.weight, h.0.ln_2.bias, h.0.mlp.c_fc.weight");
        Map<String, Weight> one = gpt2();
        one.remove("ln_f.weight");
        assertThatThrownBy(() -> build(one)).hasMessage("model: 1 tensor is missing: ln_f.weight");
    }

    @Test
    void aTensorOfAnotherShapeIsNamedWithBothShapes() {
        Map<String, Weight> all = gpt2();
        put(all, "h.0.mlp.c_proj.weight", 6, 24);
        assertThatThrownBy(() -> build(all))
                .isInstanceOf(MillraceException.class)
                .hasMessage("model: h.0.mlp.c_proj.weight is [6, 24], but the configuration asks for [24, 6]");
    }

    @Test
    void tensorsThatNothingReadsAreListed() {
        Map<String, Weight> all = gpt2();
        put(all, "h.0.attn.bias", 7, 7);
        put(all, "lm_head.weight", 11, 6);
        assertThat(build(all).unused()).containsExactly("h.0.attn.bias", "lm_head.weight");
        assertThat(build(gpt2()).unused()).isEmpty();
    }

    @Test
    void tensorsMayHaveTheirModelsPrefixAndTheHeadNone() {
        Map<String, Weight> all = new LinkedHashMap<>();
        gpt2().forEach((name, weight) -> all.put("transformer." + name, weight));
        assertThat(build(all).unused()).isEmpty();
        all.remove("transformer.ln_f.bias");
        assertThatThrownBy(() -> build(all)).hasMessage("model: 1 tensor is missing: transformer.ln_f.bias");
    }

    @Test
    void aMissingHeadIsNamedWithoutTheBodysPrefix() {
        Map<String, Weight> all = new LinkedHashMap<>();
        gpt2().forEach((name, weight) -> all.put("transformer." + name, weight));
        Settings untied = settings(GPT2, "'tie_word_embeddings': false");
        assertThatThrownBy(() -> Architectures.build("tiny", untied, new Tensors(all)))
                .hasMessage("model: 1 tensor is missing: lm_head.weight");
    }

    @Test
    void metadataOfGgufFilesIsNamedAsTheFileDoes(@TempDir Path folder) {
        assertThat(gguf(folder, writer -> {})).endsWith("metadata key llama.embedding_length is missing");
        assertThat(gguf(folder, writer -> writer.u32("llama.embedding_length", 0)))
                .endsWith("metadata key llama.embedding_length is 0, expected a whole number of at least 1");
        assertThat(gguf(folder, writer -> writer.u32("llama.expert_count", 8)))
                .endsWith("not known to the llama reader, and may change what the model computes: llama.expert_count = 8");
        assertThat(gguf(folder, writer -> writer.string("llama.rope.scaling.type", "longrope")))
                .endsWith("metadata key llama.rope.scaling.type is longrope, expected none, linear or yarn");
    }

    private static String gguf(Path folder, Consumer<GgufWriter> more) {
        GgufWriter writer = new GgufWriter().string("general.architecture", "llama");
        more.accept(writer);
        Path file = folder.resolve("bad.gguf");
        writer.write(file);
        try (Checkpoint checkpoint = Checkpoint.open(file)) {
            Architectures.build(checkpoint);
        } catch (MillraceException e) {
            return e.getMessage();
        }
        throw new AssertionError("accepted");
    }

    @Test
    void ggufArchitecturesThatAreNotKnownAreNamedBesideThoseThatAre(@TempDir Path folder) {
        Path file = folder.resolve("mamba.gguf");
        new GgufWriter().string("general.architecture", "mamba").write(file);
        try (Checkpoint checkpoint = Checkpoint.open(file)) {
            assertThatThrownBy(() -> Architectures.build(checkpoint))
                    .hasMessage(file + ": general.architecture mamba is not supported; of GGUF files these are: bert, gpt2,"
                            + " llama, qwen2, qwen3");
        }
    }

    @Test
    void ggufTensorsAreNamedAsTheFileDoes() {
        try (Checkpoint file = Checkpoint.open(Golden.folder("gguf").resolve("qwen3-untied.gguf"))) {
            Gguf gguf = new Gguf((GgufCheckpoint) file);
            assertThat(gguf.own("model.layers.0.self_attn.q_proj.weight")).isEqualTo("blk.0.attn_q.weight");
            assertThat(gguf.own("model.layers.17.self_attn.q_proj.weight")).isEqualTo("blk.17.attn_q.weight");
            assertThat(gguf.own("model.norm.weight")).isEqualTo("output_norm.weight");
        }
    }
}
