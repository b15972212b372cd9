using System.Globalization;
using System.Text;
using static Fude.Tensors.Wording;

namespace Fude.Models.Jinja;

/// <summary>Reads a template by Jinja's grammar, as far as chat templates need it.</summary>
internal sealed class JinjaParser
{
    private const int MaxDepth = 64;

    private readonly JinjaSource _source;
    private readonly List<Token> _tokens;
    private int _at;
    private int _depth;

    private JinjaParser(JinjaSource source) => (_source, _tokens) = (source, new JinjaLexer(source).Read());

    public static Statement[] Parse(JinjaSource source)
    {
        JinjaParser parser = new(source);
        return parser.ReadBody(open: default);
    }

    private Token Current => _tokens[_at];

    private Token Next() => Current.Kind == TokenKind.End ? Current : _tokens[_at++];

    private bool Is(string op) => Current.Kind == TokenKind.Operator && Current.Value == op;

    private bool IsName(string name) => Current.Kind == TokenKind.Name && Current.Value == name;

    private bool Skip(string op)
    {
        if (!Is(op)) return false;
        _at++;
        return true;
    }

    private bool SkipName(string name)
    {
        if (!IsName(name)) return false;
        _at++;
        return true;
    }

    private void Expect(string op)
    {
        if (!Skip(op)) throw Unexpected($"'{op}'");
    }

    // What is the same in both languages ends as an operator does, so that a space follows in Japanese.
    private InvalidDataException Unexpected(string english, string? japanese = null) => _source.Wrong(
        Current.Offset, $"expected {english}, found {Shown(Current)}.",
        $"{japanese ?? $"{english} "}が必要ですが、{Shown(Current)}があります。");

    private static string Shown(Token token) => token.Kind switch
    {
        TokenKind.End => Say("the end of the template", "テンプレートの終わり"),
        TokenKind.String => Say("a string", "文字列"),
        TokenKind.StatementEnd or TokenKind.PrintEnd => Say($"the end of the tag, {token.Value}", $"タグの終わりの {token.Value} "),
        _ => Say($"'{token.Value}'", $"'{token.Value}' "),
    };

    private string ReadName(string english, string japanese)
    {
        if (Current.Kind != TokenKind.Name) throw Unexpected(english, japanese);
        return Next().Value;
    }

    private T Deeper<T>(Func<T> read)
    {
        if (++_depth > MaxDepth) throw _source.Wrong(
            Current.Offset, $"nested more than {MaxDepth} deep.", $"入れ子が {MaxDepth} 段を超えています。");
        T result = read();
        _depth--;
        return result;
    }

    private void EndTag()
    {
        if (Current.Kind != TokenKind.StatementEnd) throw Unexpected("%}");
        _at++;
    }

    /// <summary>Statements up to the end of the template or, inside a block, to one of the tags that may end it, which is left to read.</summary>
    private Statement[] ReadBody(Token open, params string[] ends)
    {
        List<Statement> body = [];
        while (true)
        {
            Token token = Current;
            switch (token.Kind)
            {
                case TokenKind.End:
                    if (ends.Length == 0) return [.. body];
                    throw _source.Wrong(token.Offset,
                        $"the template ends before {{% {ends[^1]} %}}: {{% {open.Value} %}} at {_source.Place(open.Offset)} is not closed.",
                        $"{_source.Place(open.Offset)}の {{% {open.Value} %}} が閉じられず、{{% {ends[^1]} %}} の前にテンプレートが終わっています。");
                case TokenKind.Text:
                    _at++;
                    body.Add(new Text(token.Value, token.Offset));
                    break;
                case TokenKind.PrintBegin:
                    _at++;
                    body.Add(new Print(ReadTuple(), token.Offset));
                    if (Current.Kind != TokenKind.PrintEnd) throw Unexpected("}}");
                    _at++;
                    break;
                default:
                    _at++;
                    if (Current.Kind == TokenKind.Name && ends.Contains(Current.Value)) return [.. body];
                    body.Add(Deeper(ReadStatement));
                    break;
            }
        }
    }

    private Statement ReadStatement()
    {
        Token tag = Current;
        switch (ReadName("the name of a statement", "文の名前"))
        {
            case "if":
                return ReadIf(tag);
            case "for":
                return ReadFor(tag);
            case "set":
                return ReadSet(tag);
            case "generation":
                // transformers marks with it what an assistant has written; fude knows that from the conversation.
                EndTag();
                Statement[] body = ReadBody(tag, "endgeneration");
                _at++;
                EndTag();
                return new If([(new Literal(true, tag.Offset), body)], [], tag.Offset);
            case "elif" or "else" or "endif" or "endfor" or "endset" or "endgeneration":
                throw _source.Wrong(
                    tag.Offset, $"{{% {tag.Value} %}} closes nothing that is open here.", $"{{% {tag.Value} %}} に対応する開始タグがありません。");
            default:
                throw _source.Unsupported(tag.Offset,
                    $"the statement {{% {tag.Value} %}} is not supported in a chat template; if, elif, else, for, set and generation are.",
                    $"{{% {tag.Value} %}} はチャットテンプレートでは使えません。使えるのは if、elif、else、for、set、generation です。");
        }
    }

    private If ReadIf(Token tag)
    {
        List<(Expression, Statement[])> branches = [];
        Statement[] otherwise = [];
        while (true)
        {
            Expression condition = ReadTuple();
            EndTag();
            branches.Add((condition, ReadBody(tag, "elif", "else", "endif")));
            string end = Next().Value;
            if (end == "elif") continue;
            if (end == "else")
            {
                EndTag();
                otherwise = ReadBody(tag, "endif");
                _at++;
            }
            EndTag();
            return new([.. branches], otherwise, tag.Offset);
        }
    }

    private For ReadFor(Token tag)
    {
        List<string> names = [];
        bool inParentheses = Skip("(");
        do names.Add(ReadName("the name of the loop's variable", "ループ変数の名前"));
        while (Skip(","));
        if (inParentheses) Expect(")");
        if (!SkipName("in")) throw Unexpected("'in'");
        Expression items = ReadOr();
        Expression? condition = SkipName("if") ? ReadExpression() : null;
        if (IsName("recursive")) throw _source.Unsupported(
            Current.Offset, "a recursive for is not supported.", "再帰の for（recursive）には対応していません。");
        EndTag();
        Statement[] body = ReadBody(tag, "else", "endfor"), otherwise = [];
        if (Next().Value == "else")
        {
            EndTag();
            otherwise = ReadBody(tag, "endfor");
            _at++;
        }
        EndTag();
        return new([.. names], items, condition, body, otherwise, tag.Offset);
    }

    private Set ReadSet(Token tag)
    {
        string name = ReadName("the name to set", "代入先の名前");
        string? attribute = Skip(".") ? ReadName("the name of an attribute", "属性の名前") : null;
        if (!Is("=")) throw _source.Unsupported(
            Current.Offset, "{% set %} is supported as {% set name = value %} and {% set name.attribute = value %} only.",
            "{% set %} は {% set name = value %} と {% set name.attribute = value %} の形にだけ対応しています。");
        _at++;
        Expression value = ReadTuple();
        EndTag();
        return new(name, attribute, value, tag.Offset);
    }

    /// <summary>An expression, or several with commas between them.</summary>
    private Expression ReadTuple()
    {
        int start = Current.Offset;
        Expression first = ReadExpression();
        if (!Is(",")) return first;
        List<Expression> items = [first];
        while (Skip(","))
        {
            if (Current.Kind is TokenKind.StatementEnd or TokenKind.PrintEnd || Is(")")) break;
            items.Add(ReadExpression());
        }
        return new Items([.. items], IsTuple: true, start);
    }

    private Expression ReadExpression() => Deeper(() =>
    {
        int start = Current.Offset;
        Expression value = ReadOr();
        while (SkipName("if"))
        {
            Expression condition = ReadOr();
            Expression? otherwise = SkipName("else") ? ReadExpression() : null;
            value = new Conditional(value, condition, otherwise, start);
        }
        return value;
    });

    private Expression ReadOr()
    {
        Expression left = ReadAnd();
        while (Current is { Kind: TokenKind.Name, Value: "or", Offset: var offset })
        {
            _at++;
            left = new Logic(IsOr: true, left, ReadAnd(), offset);
        }
        return left;
    }

    private Expression ReadAnd()
    {
        Expression left = ReadNot();
        while (Current is { Kind: TokenKind.Name, Value: "and", Offset: var offset })
        {
            _at++;
            left = new Logic(IsOr: false, left, ReadNot(), offset);
        }
        return left;
    }

    private Expression ReadNot()
    {
        int offset = Current.Offset;
        return SkipName("not") ? Deeper<Expression>(() => new Not(ReadNot(), offset)) : ReadComparison();
    }

    private Expression ReadComparison()
    {
        Expression first = ReadSum();
        List<(string, Expression)> rest = [];
        int offset = Current.Offset;
        while (true)
        {
            string op;
            if (Current is { Kind: TokenKind.Operator, Value: "==" or "!=" or "<" or ">" or "<=" or ">=" }) op = Next().Value;
            else if (SkipName("in")) op = "in";
            else if (IsName("not") && _tokens[_at + 1] is { Kind: TokenKind.Name, Value: "in" })
            {
                _at += 2;
                op = "not in";
            }
            else break;
            rest.Add((op, ReadSum()));
        }
        return rest.Count == 0 ? first : new Comparison(first, [.. rest], offset);
    }

    private Expression ReadSum() => ReadBinary(ReadConcatenation, "+", "-");

    private Expression ReadConcatenation() => ReadBinary(ReadProduct, "~");

    private Expression ReadProduct() => ReadBinary(() => ReadUnary(), "*", "/", "//", "%");

    private Expression ReadBinary(Func<Expression> operand, params string[] operators)
    {
        Expression left = operand();
        while (Current.Kind == TokenKind.Operator && operators.Contains(Current.Value))
        {
            Token op = Next();
            left = new Binary(op.Value, left, operand(), op.Offset);
        }
        return left;
    }

    private Expression ReadUnary(bool withFilters = true)
    {
        Token token = Current;
        Expression value;
        if (token is { Kind: TokenKind.Operator, Value: "-" or "+" })
        {
            _at++;
            value = new Sign(token.Value == "-", Deeper(() => ReadUnary(withFilters: false)), token.Offset);
        }
        else value = ReadPrimary();
        value = ReadPostfix(value);
        if (Is("**")) throw _source.Unsupported(
            Current.Offset, "the operator ** is not supported; + - * / // % and ~ are.",
            "演算子 ** には対応していません。使えるのは + - * / // % ~ です。");
        return withFilters ? ReadFilters(value) : value;
    }

    private Expression ReadPrimary()
    {
        Token token = Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                _at++;
                return token.Value switch
                {
                    "true" or "True" => new Literal(true, token.Offset),
                    "false" or "False" => new Literal(false, token.Offset),
                    "none" or "None" => new Literal(null, token.Offset),
                    "and" or "or" or "not" or "in" or "is" or "if" or "else" or "elif" or "for" =>
                        throw _source.Wrong(
                            token.Offset, $"expected a value, found '{token.Value}'.", $"値が必要ですが、'{token.Value}' があります。"),
                    _ => new Variable(token.Value, token.Offset),
                };
            case TokenKind.String:
                StringBuilder text = new();     // strings side by side are one, as in Python
                while (Current.Kind == TokenKind.String) text.Append(Next().Value);
                return new Literal(text.ToString(), token.Offset);
            case TokenKind.Integer:
                _at++;
                return long.TryParse(token.Value, NumberStyles.None, CultureInfo.InvariantCulture, out long integer)
                    ? new Literal(integer, token.Offset)
                    : throw _source.Wrong(
                        token.Offset, $"{token.Value} is too large: whole numbers of 64 bits are supported.",
                        $"{token.Value} は大きすぎます。使えるのは 64 ビットの整数です。");
            case TokenKind.Float:
                _at++;
                return new Literal(double.Parse(token.Value, CultureInfo.InvariantCulture), token.Offset);
        }
        if (Skip("("))
        {
            if (Skip(")")) return new Items([], IsTuple: true, token.Offset);
            Expression inner = ReadTuple();
            Expect(")");
            return inner;
        }
        if (Skip("["))
        {
            List<Expression> items = [];
            while (!Skip("]"))
            {
                if (items.Count > 0) Expect(",");
                if (Skip("]")) break;
                items.Add(ReadExpression());
            }
            return new Items([.. items], IsTuple: false, token.Offset);
        }
        if (Skip("{"))
        {
            List<(Expression, Expression)> pairs = [];
            while (!Skip("}"))
            {
                if (pairs.Count > 0) Expect(",");
                if (Skip("}")) break;
                Expression key = ReadExpression();
                Expect(":");
                pairs.Add((key, ReadExpression()));
            }
            return new Pairs([.. pairs], token.Offset);
        }
        throw Unexpected("a value", "値");
    }

    private Expression ReadPostfix(Expression value)
    {
        while (true)
        {
            int offset = Current.Offset;
            if (Skip("."))
                value = Current.Kind == TokenKind.Integer
                    ? new Subscript(value, ReadPrimary(), offset)
                    : new Member(value, ReadName("the name of an attribute", "属性の名前"), offset);
            else if (Skip("[")) value = ReadSubscript(value, offset);
            else if (Is("(")) value = new Call(value, ReadArguments(), offset);
            else return value;
        }
    }

    private Expression ReadSubscript(Expression value, int offset)
    {
        Expression? start = Is(":") ? null : ReadExpression();
        if (Skip("]")) return new Subscript(value, start!, offset);
        if (!Skip(":")) throw Unexpected("']'");
        Expression? stop = Is(":") || Is("]") ? null : ReadExpression();
        Expression? step = Skip(":") && !Is("]") ? ReadExpression() : null;
        Expect("]");
        return new Slice(value, start, stop, step, offset);
    }

    private Arguments ReadArguments()
    {
        Expect("(");
        List<Expression> values = [];
        List<(string, Expression)> named = [];
        while (!Skip(")"))
        {
            if (values.Count + named.Count > 0) Expect(",");
            if (Skip(")")) break;
            if (Is("*") || Is("**")) throw _source.Unsupported(
                Current.Offset, "arguments with * or ** are not supported.", "* や ** の付いた引数には対応していません。");
            if (Current.Kind == TokenKind.Name && _tokens[_at + 1] is { Kind: TokenKind.Operator, Value: "=" })
            {
                string name = Next().Value;
                _at++;
                named.Add((name, ReadExpression()));
            }
            else if (named.Count > 0) throw _source.Wrong(
                Current.Offset, "an argument without a name stands after one with a name.", "名前付きの引数の後に、名前のない引数があります。");
            else values.Add(ReadExpression());
        }
        return new([.. values], [.. named]);
    }

    private Expression ReadFilters(Expression value)
    {
        while (true)
        {
            if (Skip("|"))
            {
                Token filter = Current;
                string name = ReadName("the name of a filter", "フィルターの名前");
                if (!JinjaFilters.Names.Contains(name))
                    throw _source.Unsupported(filter.Offset,
                        $"there is no filter '{name}' here; there are {string.Join(", ", JinjaFilters.Names.Order(StringComparer.Ordinal))}.",
                        $"フィルター '{name}' はありません。使えるのは {string.Join("、", JinjaFilters.Names.Order(StringComparer.Ordinal))} です。");
                value = new Filter(value, name, Is("(") ? ReadArguments() : Arguments.None, filter.Offset);
            }
            else if (SkipName("is"))
            {
                bool negated = SkipName("not");
                Token test = Current;
                string name = ReadName("the name of a test", "テストの名前");
                if (!JinjaTests.Names.Contains(name))
                    throw _source.Unsupported(test.Offset,
                        $"there is no test '{name}' here; there are {string.Join(", ", JinjaTests.Names.Order(StringComparer.Ordinal))}.",
                        $"テスト '{name}' はありません。使えるのは {string.Join("、", JinjaTests.Names.Order(StringComparer.Ordinal))} です。");
                Arguments arguments = Is("(") ? ReadArguments()
                    : JinjaTests.TakesArgument(name) ? new([ReadPostfix(ReadPrimary())], []) : Arguments.None;
                value = new Test(value, name, negated, arguments, test.Offset);
            }
            else if (Is("("))
            {
                int offset = Current.Offset;
                value = new Call(value, ReadArguments(), offset);
            }
            else return value;
        }
    }
}
