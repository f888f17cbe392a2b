package dev.millrace.models.cli;

import dev.millrace.models.Model;
import dev.millrace.quant.WeightRequest;
import java.util.ArrayList;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** {@code --model} and {@code --weights}. */
public final class ModelOptions {
    @Option(
            names = {"-m", "--model"},
            paramLabel = "MODEL",
            description = "A directory, a file, or synthetic:NAME for random weights of a known shape"
                    + " (default: the embedded " + Model.EMBEDDED + ").")
    private String model;

    @Option(
            names = "--weights",
            paramLabel = "FORMAT",
            converter = Request.class,
            completionCandidates = Names.class,
            description = "Format of the linear layers' weights, converted on load: ${COMPLETION-CANDIDATES}"
                    + " (default: native, the checkpoint's own).")
    private WeightRequest weights;

    /** Opens the model; the caller closes it. */
    public Model open() {
        return open(model);
    }

    /** Opens what {@code --model} names; null is the embedded model. */
    public static Model open(String model) {
        if (model != null && model.isBlank()) {
            throw new UsageException("--model '" + model + "' names no model; give a directory, a file or synthetic:NAME, or leave it out");
        }
        return model == null ? Model.embedded() : Model.open(model);
    }

    /** The model as it was named; null for the embedded one. */
    public String named() {
        return model;
    }

    /** The weight format asked for. */
    public WeightRequest weights() {
        return weights == null ? WeightRequest.NATIVE : weights;
    }

    private static final class Names extends ArrayList<String> {
        private static final long serialVersionUID = 1L;

        Names() {
            for (WeightRequest request : WeightRequest.values()) {
                add(request.toString());
            }
        }
    }

    /** For picocli. */
    public static final class Request implements ITypeConverter<WeightRequest> {
        @Override
        public WeightRequest convert(String value) {
            return WeightRequest.of(value)
                    .orElseThrow(() -> new TypeConversionException(
                            "'" + value + "' is none of " + WeightRequest.labels()));
        }
    }
}
