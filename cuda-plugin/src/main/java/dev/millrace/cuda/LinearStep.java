package dev.millrace.cuda;

import dev.millrace.core.graph.Node;
import dev.millrace.core.graph.Value;
import dev.millrace.cuda.driver.TensorMaps;
import java.util.List;
import java.util.Locale;

/**
 * {@code y = epilogue(norm(x) W^T + b)}. Parts of one format are one matrix and one launch; parts of several formats
 * are a launch each.
 *
 * @param x the input; not the node's where a norm before it was taken in
 * @param norm null for none
 * @param residual null for none
 * @param act the code of the activation; -1 for none
 */
record LinearStep(
        Node node, Value x, NormRef norm, List<Part> parts, int act, boolean gated, Value residual)
        implements Step {
    static final String OPERAND = "operand";
    static final String GATE = "gate";

    /**
     * @param bias offset in the program's weights; -1 for none
     * @param column where its outputs go in a row
     */
    record Part(Matrix matrix, long bias, int column) {}

    /** What is multiplied. */
    private record Operand(long address, int ld, Format format, NormRef norm) {}

    /** Where results go. */
    private record Target(long address, int ld, Format format) {}

    /** The same with the norm that makes its input. */
    LinearStep after(RowSteps.Normalization before) {
        return new LinearStep(node, before.node().inputs().getFirst(), before.norm(), parts, act, gated, residual);
    }

    private Value y() {
        return node.output();
    }

    @Override
    public void emit(Emission e) {
        Target target = new Target(e.address(y()), Activations.ld(y().width()), e.format(y()));
        if (gated && parts.size() == 2) {
            gateOfTwo(e, target);
            return;
        }
        Operand operand = null;
        for (Part part : parts) {
            operand = operand(e, part.matrix(), operand);
            long at = target.address + (long) part.column() * (target.format == Format.F32 ? 4 : 2);
            long add = residual == null ? 0 : e.address(residual) + 4L * part.column();
            launch(e, part, operand, new Target(at, target.ld, target.format), act, gated, add);
        }
    }

    /** Gate and up in different formats: up to y, gate beside it, and the two together after. */
    private void gateOfTwo(Emission e, Target y) {
        Target gate = new Target(e.extra(GATE, y()), y.ld, Format.F32);
        Operand operand = operand(e, parts.get(0).matrix(), null);
        launch(e, parts.get(0), operand, gate, -1, false, 0);
        operand = operand(e, parts.get(1).matrix(), operand);
        launch(e, parts.get(1), operand, y, -1, false, 0);
        int rows = e.rows(y());
        ElementStep.write(e, gate.address, y.address, y.address, 0, rows, y().width(), y.ld, y.ld, y.ld, act);
        e.launch("gate", e.machine().rules().elements(rows, y().width()));
        if (residual != null) {
            int ldr = Activations.ld(residual.width());
            ElementStep.write(e, y.address, e.address(residual), y.address, 0, rows, y().width(), y.ld, ldr, y.ld, -1);
            e.launch("add", e.machine().rules().elements(rows, y().width()));
        }
    }

    /** x as the kernel of this matrix reads it; {@code last} if that will do. */
    private Operand operand(Emission e, Matrix matrix, Operand last) {
        Format have = e.format(x);
        int ld = Activations.ld(x.width());
        boolean few = e.few(y());
        Format wanted = few ? Format.F32 : matrix.format().compute();
        boolean inside = few && norm != null && norm.group() == x.width();
        if (have == wanted && (norm == null || inside)) {
            return new Operand(e.address(x), ld, have, norm);
        }
        if (last != null && last.format == wanted) {
            return last;
        }
        long prepared = e.extra(OPERAND, y());
        RowSteps.Normalization.launch(e, norm, e.address(x), prepared, e.rows(x), x.width(), wanted);
        return new Operand(prepared, ld, wanted, null);
    }

    private void launch(Emission e, Part part, Operand in, Target to, int act, boolean gated, long add) {
        Matrix w = part.matrix();
        if (e.few(y())) {
            few(e, part, in, to, act, gated, add);
        } else if (e.machine().rules().expands(w.format())) {
            expanded(e, part, in, to, act, gated, add);
        } else {
            LaunchRules.Product product =
                    e.machine().rules().product(w, e.rows(y()), gated, e.machine().strict());
            e.begin();
            if (product.outputs() > 0) {
                maps(e, in, e.constant(w.data()), w.rows(), w, product);
            }
            e.weight(w);
            product(e, part, 0, in, to, act, gated, add, product, false);
        }
    }

    private void few(Emission e, Part part, Operand in, Target to, int act, boolean gated, long add) {
        Matrix w = part.matrix();
        VectorRules.Vector vector = e.machine().rules().vectors().of(w, e.rows(y()));
        boolean best = parts.size() == 1 && e.samplesFrom(y());
        e.begin();
        e.weight(w);
        e.norm(in.norm);
        operands(e, part, 0, in, to, act, gated, add);
        e.arguments().put(best ? e.machine().best() : 0L).put(vector.slices()).put(0);
        if (best) {
            e.bestOf(vector.geometry().gridX() * vector.geometry().gridZ());
        }
        e.launch(vector.kernel(), vector.geometry());
    }

    /** A block format: some rows at a time as float16, and their product. */
    private void expanded(Emission e, Part part, Operand in, Target to, int act, boolean gated, long add) {
        Matrix w = part.matrix();
        LaunchRules rules = e.machine().rules();
        int step = rules.expandedRows(w);
        for (int from = 0; from < w.rows(); from += step) {
            int rows = Math.min(step, w.rows() - from);
            e.begin();
            e.weight(w);
            e.arguments().put(e.machine().expanded()).put(from / Format.ROW_TILE).put(0);
            e.launch("expand_" + w.format().name().toLowerCase(Locale.ROOT), rules.expand(w, rows));
            LaunchRules.Product product = rules.product(
                    new Matrix(0, 0, rows, w.columns(), w.format()), e.rows(y()), gated, e.machine().strict());
            e.begin();
            maps(e, in, e.machine().expanded(), rows, w, product);
            e.arguments().put(e.machine().expanded()).put(0L).put(rows).put(w.columns()).put(w.ld()).put(Format.F16.code());
            product(e, part, from, in, to, act, gated, add, product, true);
        }
    }

    /** How the copy engine reads x and a matrix like {@code w} of so many rows. */
    private void maps(
            Emission e, Operand in, long at, int rows, Matrix w, LaunchRules.Product product) {
        TensorMaps.Element element = TensorMaps.Element.valueOf(in.format.name());
        e.arguments()
                .putMap(in.address, element, e.rows(y()), w.columns(), in.ld, product.tokens())
                .putMap(at, element, Format.roundUp(rows, Format.ROW_TILE), w.columns(), w.ld(), product.outputs());
    }

    /** The rest of struct LinearArgs after its weight, whose first row is row {@code from} of the matrix. */
    private void product(
            Emission e,
            Part part,
            int from,
            Operand in,
            Target to,
            int act,
            boolean gated,
            long add,
            LaunchRules.Product product,
            boolean fresh) {
        e.norm(null);
        operands(e, part, from, in, to, act, gated, add);
        e.arguments().put(0L).put(product.shares()).put(fresh ? 1 : 0);
        e.launch(product.kernel(), product.geometry());
    }

    private void operands(
            Emission e, Part part, int from, Operand in, Target to, int act, boolean gated, long add) {
        int column = gated ? from / 2 : from;
        e.arguments()
                .put(in.address)
                .put(to.address + (long) column * (to.format == Format.F32 ? 4 : 2))
                .put(part.bias() < 0 ? 0L : e.constant(part.bias()) + 4L * from)
                .put(add == 0 ? 0 : add + 4L * column)
                .put(e.rows(y()))
                .put(in.ld)
                .put(to.ld)
                .put(residual == null ? 0 : Activations.ld(residual.width()))
                .put(act)
                .put(gated ? 1 : 0)
                .put(in.format.code())
                .put(to.format.code())
                .put(e.machine().productWork())
                .put(e.machine().counters());
    }
}
