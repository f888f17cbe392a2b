package dev.millrace.models.cli;

import java.io.BufferedReader;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import org.jline.reader.EndOfFileException;
import org.jline.reader.LineReader;
import org.jline.reader.LineReaderBuilder;
import org.jline.reader.UserInterruptException;
import org.jline.reader.impl.DefaultParser;
import org.jline.terminal.Terminal;
import org.jline.terminal.TerminalBuilder;

/** Where a conversation takes place: at a terminal with line editing, or through pipes line by line. */
sealed interface ChatConsole extends Closeable {
    /** The next line that the user gives; null at the end of the input. */
    String readLine() throws IOException;

    /** Shows text at once. */
    void print(String text);

    /** Whether the user wants no more of this answer. */
    boolean stopped();

    /** An answer begins: what the user wanted before is forgotten. */
    void begin();

    @Override
    void close() throws IOException;

    /** A terminal where there is one on both sides, else pipes. */
    static ChatConsole open(PrintWriter out) throws IOException {
        boolean terminal = System.console() != null && System.console().isTerminal();
        return terminal ? new AtTerminal() : new Piped(out);
    }

    /** Lines in, text out. */
    final class Piped implements ChatConsole {
        private final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        private final PrintWriter out;

        Piped(PrintWriter out) {
            this.out = out;
        }

        @Override
        public String readLine() throws IOException {
            return in.readLine();
        }

        @Override
        public void print(String text) {
            out.print(text);
            out.flush();
        }

        @Override
        public boolean stopped() {
            return Interrupt.requested() || out.checkError();
        }

        @Override
        public void begin() {}

        @Override
        public void close() {}
    }

    /** JLine: editing, history, paste; Ctrl-C stops the answer, Ctrl-D ends the conversation. */
    final class AtTerminal implements ChatConsole {
        private final Terminal terminal;
        private final LineReader lines;
        private volatile boolean interrupted;

        AtTerminal() throws IOException {
            terminal = TerminalBuilder.builder().jna(false).jansi(false).jni(false).build();
            DefaultParser words = new DefaultParser();
            words.setEscapeChars(null);
            words.setQuoteChars(null);
            lines = LineReaderBuilder.builder()
                    .terminal(terminal)
                    .parser(words)
                    .option(LineReader.Option.DISABLE_EVENT_EXPANSION, true)
                    .build();
            terminal.handle(Terminal.Signal.INT, signal -> interrupted = true);
        }

        @Override
        public String readLine() {
            while (true) {
                try {
                    return lines.readLine("> ");
                } catch (UserInterruptException clearedLine) {
                    print("(Ctrl-D or /exit ends the conversation)\n");
                } catch (EndOfFileException end) {
                    return null;
                }
            }
        }

        @Override
        public void print(String text) {
            terminal.writer().print(text);
            terminal.flush();
        }

        @Override
        public boolean stopped() {
            return interrupted || Interrupt.requested();
        }

        @Override
        public void begin() {
            interrupted = false;
        }

        @Override
        public void close() throws IOException {
            terminal.close();
        }
    }
}
