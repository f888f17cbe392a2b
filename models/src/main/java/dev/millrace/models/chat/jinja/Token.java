package dev.millrace.models.chat.jinja;

/**
 * A piece of a template.
 *
 * @param text of {@code TEXT} the text itself, of {@code STRING} the value; else as it is written
 * @param line in the template, from 1
 */
record Token(Kind kind, String text, int line) {
    enum Kind {
        TEXT,
        PRINT_BEGIN,
        PRINT_END,
        BLOCK_BEGIN,
        BLOCK_END,
        NAME,
        STRING,
        INTEGER,
        FLOAT,
        OPERATOR,
        END
    }

    boolean is(Kind kind, String text) {
        return this.kind == kind && this.text.equals(text);
    }

    String shown() {
        return switch (kind) {
            case END -> "the end of the template";
            case PRINT_END -> "}}";
            case BLOCK_END -> "%}";
            case STRING -> "'" + text + "'";
            default -> text;
        };
    }
}
