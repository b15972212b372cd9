using System.Globalization;
using System.Text;

namespace Fude.Models.Jinja;

internal enum TokenKind
{
    Text, StatementBegin, StatementEnd, PrintBegin, PrintEnd, Name, String, Integer, Float, Operator, End,
}

/// <summary>A piece of a template; <c>Value</c> is a string's contents, a number, a name or an operator.</summary>
internal readonly record struct Token(TokenKind Kind, string Value, int Offset);

/// <summary>Cuts a template into tokens, whitespace control done: trim_blocks and lstrip_blocks are on, as transformers has them.</summary>
internal sealed class JinjaLexer(JinjaSource source)
{
    private static readonly string[] Operators =
        ["==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ":", ".", "|"];

    private readonly string _text = source.Text;
    private readonly List<Token> _tokens = [];
    private int _at;
    private bool _startsLine = true;      // whether the text that follows is the beginning of a line

    /// <summary>As Python's str.isspace.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    public List<Token> Read()
    {
        while (_at < _text.Length)
        {
            int open = NextOpening();
            if (open < 0)
            {
                Add(TokenKind.Text, _text[_at..], _at);
                _at = _text.Length;
                break;
            }
            ReadText(open);
            char kind = _text[open + 1];
            _at = open + 2;
            if (_at < _text.Length && _text[_at] is '-' or '+') _at++;
            if (kind == '#') SkipComment(open);
            else ReadTag(open, kind == '%');
        }
        Add(TokenKind.End, "", _text.Length);
        return _tokens;
    }

    private int NextOpening()
    {
        for (int i = _at; (i = _text.IndexOf('{', i)) >= 0 && i + 1 < _text.Length; i++)
            if (_text[i + 1] is '{' or '%' or '#') return i;
        return -1;
    }

    private void ReadText(int open)
    {
        ReadOnlySpan<char> text = _text.AsSpan(_at, open - _at);
        char sign = open + 2 < _text.Length ? _text[open + 2] : ' ';
        if (sign == '-')
        {
            while (text.Length > 0 && IsSpace(text[^1])) text = text[..^1];
        }
        else if (sign != '+' && _text[open + 1] != '{')
        {
            // lstrip_blocks: nothing but spaces between the line's beginning and a block goes.
            int line = text.LastIndexOf('\n') + 1;
            if (line > 0 || _startsLine)
            {
                int i = line;
                while (i < text.Length && IsSpace(text[i])) i++;
                if (i == text.Length) text = text[..line];
            }
        }
        if (text.Length > 0) Add(TokenKind.Text, text.ToString(), _at);
    }

    private void SkipComment(int open)
    {
        int close = _text.IndexOf("#}", Math.Min(_at, _text.Length), StringComparison.Ordinal);
        if (close < 0) throw source.Wrong(open, "the comment has no end: #} is missing.", "コメントが閉じていません。#} がありません。");
        char sign = close > open + 2 ? _text[close - 1] : ' ';
        AfterTag(close + 2, sign, trimsLine: true);
    }

    /// <summary>What whitespace goes with a tag's end.</summary>
    private void AfterTag(int end, char sign, bool trimsLine)
    {
        _at = end;
        if (sign == '-')
        {
            while (_at < _text.Length && IsSpace(_text[_at])) _at++;
        }
        else if (trimsLine && sign != '+' && _at < _text.Length && _text[_at] == '\n') _at++;
        _startsLine = _text[_at - 1] == '\n';
    }

    private void ReadTag(int open, bool isStatement)
    {
        string end = isStatement ? "%}" : "}}";
        Add(isStatement ? TokenKind.StatementBegin : TokenKind.PrintBegin, "", open);
        int braces = 0;        // }} inside a dict in a dict is no end
        while (true)
        {
            while (_at < _text.Length && IsSpace(_text[_at])) _at++;
            if (_at >= _text.Length)
                throw source.Wrong(
                    open, $"the template ends inside this {(isStatement ? "{%" : "{{")}: {end} is missing.",
                    $"この {(isStatement ? "{%" : "{{")} の中でテンプレートが終わっています。{end} がありません。");
            int start = _at;
            char c = _text[_at];
            if (braces == 0)
            {
                int sign = c == '-' || (c == '+' && isStatement) ? 1 : 0;
                if (string.CompareOrdinal(_text, _at + sign, end, 0, 2) == 0)
                {
                    Add(isStatement ? TokenKind.StatementEnd : TokenKind.PrintEnd, end, start);
                    AfterTag(_at + sign + 2, sign == 1 ? c : ' ', trimsLine: isStatement);
                    return;
                }
            }
            if (c is '"' or '\'') ReadString(c);
            else if (char.IsAsciiDigit(c)) ReadNumber();
            else if (c == '_' || char.IsLetter(c))
            {
                while (_at < _text.Length && (_text[_at] == '_' || char.IsLetterOrDigit(_text[_at]))) _at++;
                Add(TokenKind.Name, _text[start.._at], start);
            }
            else if (Operators.FirstOrDefault(o => string.CompareOrdinal(_text, start, o, 0, o.Length) == 0) is { } op)
            {
                if (op == "{") braces++;
                else if (op == "}") braces = Math.Max(0, braces - 1);
                _at += op.Length;
                Add(TokenKind.Operator, op, start);
            }
            else throw source.Wrong(
                start, $"the character '{c}' (U+{(int)c:X4}) has no meaning in an expression.",
                $"文字 '{c}'（U+{(int)c:X4}）は式の中では使えません。");
        }
    }

    private void ReadNumber()
    {
        int start = _at;
        Digits();
        bool isFloat = false;
        if (_at + 1 < _text.Length && _text[_at] == '.' && char.IsAsciiDigit(_text[_at + 1]))
        {
            isFloat = true;
            _at++;
            Digits();
        }
        if (_at < _text.Length && _text[_at] is 'e' or 'E')
        {
            int digits = _at + 1 < _text.Length && _text[_at + 1] is '+' or '-' ? _at + 2 : _at + 1;
            if (digits < _text.Length && char.IsAsciiDigit(_text[digits]))
            {
                isFloat = true;
                _at = digits;
                Digits();
            }
        }
        Add(isFloat ? TokenKind.Float : TokenKind.Integer, _text[start.._at].Replace("_", "", StringComparison.Ordinal), start);

        void Digits()
        {
            while (_at < _text.Length && (char.IsAsciiDigit(_text[_at]) || _text[_at] == '_')) _at++;
        }
    }

    private void ReadString(char quote)
    {
        int start = _at++;
        StringBuilder value = new();
        while (true)
        {
            if (_at >= _text.Length) throw source.Wrong(
                start, $"the string has no end: {quote} is missing.", $"文字列が閉じていません。{quote} がありません。");
            char c = _text[_at++];
            if (c == quote) break;
            if (c != '\\')
            {
                value.Append(c);
                continue;
            }
            if (_at < _text.Length) ReadEscape(value, start);
        }
        Add(TokenKind.String, value.ToString(), start);
    }

    // Python's escapes; what is none keeps its backslash.
    private void ReadEscape(StringBuilder value, int start)
    {
        char c = _text[_at++];
        switch (c)
        {
            case 'n': value.Append('\n'); break;
            case 't': value.Append('\t'); break;
            case 'r': value.Append('\r'); break;
            case 'a': value.Append('\a'); break;
            case 'b': value.Append('\b'); break;
            case 'f': value.Append('\f'); break;
            case 'v': value.Append('\v'); break;
            case '\\' or '\'' or '"': value.Append(c); break;
            case '\n': break;
            case 'x': AppendCode(2); break;
            case 'u': AppendCode(4); break;
            case 'U': AppendCode(8); break;
            case 'N':
                throw source.Unsupported(
                    start, "a string with \\N{...} is not supported; \\uXXXX and the character itself are.",
                    "文字列の \\N{...} には対応していません。\\uXXXX か文字そのものを使ってください。");
            case >= '0' and <= '7':
                int octal = c - '0';
                for (int i = 0; i < 2 && _at < _text.Length && _text[_at] is >= '0' and <= '7'; i++) octal = (octal * 8) + _text[_at++] - '0';
                value.Append((char)octal);
                break;
            default: value.Append('\\').Append(c); break;
        }

        void AppendCode(int digits)
        {
            if (_at + digits > _text.Length
                || !uint.TryParse(_text.AsSpan(_at, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint code)
                || !Rune.IsValid(code))
                throw source.Wrong(
                    _at - 2, $"\\{c} wants {digits} hexadecimal digits that are a character.",
                    $"\\{c} の後には、文字を表す {digits} 桁の 16 進数が必要です。");
            value.Append(new Rune(code).ToString());
            _at += digits;
        }
    }

    private void Add(TokenKind kind, string value, int offset) => _tokens.Add(new(kind, value, offset));
}
