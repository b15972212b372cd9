using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using System.Text;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Reads Python's pickle format as far as torch.save uses it for tensors, and executes nothing.</summary>
/// <remarks>
/// A pickle is a program for a stack machine; Python's own reader may call any function it names. This one knows a closed list of names
/// (<see cref="Globals"/>), none of which is looked up anywhere: they stand for tensors, storages and dictionaries. Every other name is
/// an error. Work and memory are bounded by the length of the pickle: each instruction makes at most one object, and nothing here walks
/// through nested objects.
/// </remarks>
internal ref struct Unpickler(ReadOnlySpan<byte> pickle, string path)
{
    /// <summary>Longest pickle that is read. 70 B parameters in one file need about 100 KB.</summary>
    public const int MaxBytes = 16_000_000;

    private const int MaxInstructions = 4_000_000, MaxDepth = 200_000, MaxIntegerBytes = 256, MaxDimensions = 64;

    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private static readonly Dictionary<string, Global> Globals = new(StringComparer.Ordinal)
    {
        ["collections.OrderedDict"] = new(GlobalKind.OrderedDict),
        ["torch._utils._rebuild_tensor"] = new(GlobalKind.RebuildTensor),
        ["torch._utils._rebuild_tensor_v2"] = new(GlobalKind.RebuildTensor),
        ["torch._utils._rebuild_parameter"] = new(GlobalKind.RebuildParameter),
        ["torch.DoubleStorage"] = new(GlobalKind.Storage, ElementType.F64),
        ["torch.FloatStorage"] = new(GlobalKind.Storage, ElementType.F32),
        ["torch.HalfStorage"] = new(GlobalKind.Storage, ElementType.F16),
        ["torch.BFloat16Storage"] = new(GlobalKind.Storage, ElementType.BF16),
        ["torch.LongStorage"] = new(GlobalKind.Storage, ElementType.I64),
        ["torch.IntStorage"] = new(GlobalKind.Storage, ElementType.I32),
        ["torch.ShortStorage"] = new(GlobalKind.Storage, ElementType.I16),
        ["torch.CharStorage"] = new(GlobalKind.Storage, ElementType.I8),
        ["torch.ByteStorage"] = new(GlobalKind.Storage, ElementType.U8),
        ["torch.BoolStorage"] = new(GlobalKind.Storage, ElementType.Bool),
    };

    private readonly ReadOnlySpan<byte> _pickle = pickle;
    private readonly List<object?> _stack = [];
    private readonly List<int> _marks = [];
    private readonly Dictionary<uint, object?> _memo = [];

    private enum GlobalKind
    {
        OrderedDict,
        RebuildTensor,
        RebuildParameter,
        Storage,
    }

    private sealed record Global(GlobalKind Kind, ElementType Type = default);

    /// <summary>A flat run of numbers that tensors are views of.</summary>
    public sealed record Storage(ElementType Type, string Key, long Count);

    /// <summary>A view of a storage; nothing about it has been checked against the storage.</summary>
    public sealed record TensorView(Storage Storage, long Offset, long[] Shape, long[] Strides);

    /// <summary>A dictionary as a list of its entries: keys are never hashed nor compared while reading.</summary>
    public sealed class Entries : List<KeyValuePair<object?, object?>>;

    private sealed class Tuple(object?[] items)
    {
        public object?[] Items => items;
    }

    /// <summary>Bytes read so far.</summary>
    public int Position { get; private set; }

    /// <summary>Runs the pickle up to its STOP.</summary>
    /// <returns>null, bool, long, double, BigInteger, string, byte[], a list, <see cref="Entries"/>, <see cref="Storage"/>,
    /// <see cref="TensorView"/>, or something opaque.</returns>
    public object? Run()
    {
        for (int instruction = 0; instruction < MaxInstructions; instruction++)
        {
            byte code = Bytes(1)[0];
            switch ((char)code)
            {
                case '\x80':
                    int protocol = Bytes(1)[0];
                    if (protocol > 5)
                        throw new NotSupportedException(Say(
                            $"{path}: the pickle is of protocol {protocol}; fude reads 0 to 5.",
                            $"{path}: pickle のプロトコルが {protocol} です。fude が読めるのは 0 から 5 までです。"));
                    break;
                case '\x95':
                    _ = Bytes(8);       // a frame's length: only a hint for buffered readers
                    break;
                case '.':
                    object? result = Pop();
                    if (_stack.Count != 0 || _marks.Count != 0) throw Bad("it stops with a stack that is not empty", "スタックが空でないまま終わっています");
                    return result;
                case '(':
                    if (_marks.Count >= MaxDepth) throw Bad($"it nests more than {MaxDepth} deep", $"入れ子が {MaxDepth} 段を超えています");
                    _marks.Add(_stack.Count);
                    break;
                case '0':
                    // POP takes a mark away when nothing lies on it.
                    if (_marks.Count > 0 && _marks[^1] == _stack.Count) _marks.RemoveAt(_marks.Count - 1);
                    else _ = Pop();
                    break;
                case '1':
                    _ = PopToMark();
                    break;
                case '2':
                    Push(Top());
                    break;

                case 'N':
                    Push(null);
                    break;
                case '\x88':
                    Push(true);
                    break;
                case '\x89':
                    Push(false);
                    break;
                case 'K':
                    Push((long)Bytes(1)[0]);
                    break;
                case 'M':
                    Push((long)BinaryPrimitives.ReadUInt16LittleEndian(Bytes(2)));
                    break;
                case 'J':
                    Push((long)BinaryPrimitives.ReadInt32LittleEndian(Bytes(4)));
                    break;
                case '\x8a':
                    Push(Integer(Bytes(Bytes(1)[0])));
                    break;
                case '\x8b':
                    Push(Integer(Bytes(Length(4))));
                    break;
                case 'I':
                    Push(IntegerLine());
                    break;
                case 'L':
                    Push(IntegerLine());
                    break;
                case 'G':
                    Push(BinaryPrimitives.ReadDoubleBigEndian(Bytes(8)));
                    break;

                case 'X':
                    Push(Text(Bytes(Length(4))));
                    break;
                case '\x8c':
                    Push(Text(Bytes(Length(1))));
                    break;
                case '\x8d':
                    Push(Text(Bytes(Length(8))));
                    break;
                case 'U':
                    Push(Text(Bytes(Length(1))));
                    break;
                case 'T':
                    Push(Text(Bytes(Length(4))));
                    break;
                case 'C':
                    Push(Bytes(Length(1)).ToArray());
                    break;
                case 'B':
                    Push(Bytes(Length(4)).ToArray());
                    break;
                case '\x8e' or '\x96':
                    Push(Bytes(Length(8)).ToArray());
                    break;

                case ')':
                    Push(new Tuple([]));
                    break;
                case 't':
                    Push(new Tuple(PopToMark()));
                    break;
                case '\x85':
                    Push(new Tuple([Pop()]));
                    break;
                case '\x86':
                    object? second = Pop(), first = Pop();
                    Push(new Tuple([first, second]));
                    break;
                case '\x87':
                    object? c = Pop(), b = Pop(), a = Pop();
                    Push(new Tuple([a, b, c]));
                    break;
                case ']' or '\x8f':
                    Push(new List<object?>());
                    break;
                case 'l' or '\x91':
                    Push(new List<object?>(PopToMark()));
                    break;
                case 'a':
                    object? item = Pop();
                    Top<List<object?>>("a list", "リスト").Add(item);
                    break;
                case 'e' or '\x90':
                    object?[] items = PopToMark();
                    Top<List<object?>>("a list", "リスト").AddRange(items);
                    break;
                case '}':
                    Push(new Entries());
                    break;
                case 'd':
                    object?[] pairs = PopToMark();
                    Push(new Entries());
                    AddEntries(pairs);
                    break;
                case 's':
                    object? value = Pop(), key = Pop();
                    AddEntries([key, value]);
                    break;
                case 'u':
                    AddEntries(PopToMark());
                    break;

                case 'p':
                    Remember(MemoLine());
                    break;
                case 'q':
                    Remember(Bytes(1)[0]);
                    break;
                case 'r':
                    Remember(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)));
                    break;
                case '\x94':
                    Remember((uint)_memo.Count);
                    break;
                case 'g':
                    Recall(MemoLine());
                    break;
                case 'h':
                    Recall(Bytes(1)[0]);
                    break;
                case 'j':
                    Recall(BinaryPrimitives.ReadUInt32LittleEndian(Bytes(4)));
                    break;

                case 'c':
                    string module = Text(Line());
                    Push(Allowed(module, Text(Line())));
                    break;
                case '\x93':
                    string attribute = Pop<string>("a name", "名前");
                    Push(Allowed(Pop<string>("a module's name", "モジュール名"), attribute));
                    break;
                case 'i':
                    // INST: names a class and makes one. Allowed names are never written so, but a refusal should tell the name.
                    string instanceModule = Text(Line());
                    _ = Allowed(instanceModule, Text(Line()));
                    throw Bad("it makes an instance (INST) where torch.save never does", "torch.save が書くことのないインスタンス生成（INST）があります");
                case 'R' or '\x81':
                    Tuple arguments = Pop<Tuple>("a tuple of arguments", "引数のタプル");
                    Push(Make(Pop<Global>("a name that may be called", "呼び出せる名前"), arguments.Items));
                    break;
                case 'b':
                    // The state of an OrderedDict: torch puts version numbers of modules there. Nothing else may have state.
                    _ = Pop();
                    _ = Top<Entries>("a dictionary", "辞書");
                    break;
                case 'Q':
                    Push(MakeStorage(Pop<Tuple>("a storage's identity", "ストレージの識別情報").Items));
                    break;
                default:
                    throw Bad($"instruction 0x{code:X2} is none that torch.save writes for tensors", $"命令 0x{code:X2} は torch.save がテンソルのために書くものではありません");
            }
        }
        throw Bad($"it has more than {MaxInstructions} instructions", $"命令が {MaxInstructions} 個を超えています");
    }

    private readonly Global Allowed(string module, string name) =>
        Globals.TryGetValue($"{module}.{name}", out Global? known) ? known : throw new InvalidDataException(Say(
            $"{path}: the pickle asks for '{Printable(module)}.{Printable(name)}' at byte {Position}, which is refused and was not run: " +
            "a file of weights needs only tensors and dictionaries, and anything else may be an attack. " +
            "Get the model as safetensors, or save model.state_dict() alone where you trust the file.",
            $"{path}: pickle が {Position} バイト目で '{Printable(module)}.{Printable(name)}' を呼び出そうとしたため、実行せずに拒否しました。" +
            "重みのファイルに必要なのはテンソルと辞書だけで、ほかは攻撃かもしれません。" +
            "モデルを safetensors で入手するか、信頼できるファイルなら model.state_dict() だけを保存し直してください。"));

    // Names come from the file and go to a terminal.
    private static string Printable(string name)
    {
        StringBuilder text = new();
        foreach (char c in name.Length <= 100 ? name : name[..100] + "…") _ = text.Append(char.IsControl(c) ? '?' : c);
        return text.ToString();
    }

    private readonly object Make(Global global, object?[] arguments)
    {
        switch (global.Kind)
        {
            case GlobalKind.OrderedDict when arguments.Length == 0:
                return new Entries();
            case GlobalKind.RebuildParameter when arguments is [TensorView tensor, ..]:
                return tensor;
            case GlobalKind.RebuildTensor when arguments is [Storage storage, long offset, Tuple shape, Tuple strides, ..]:
                return new TensorView(storage, offset, Numbers(shape), Numbers(strides));
            default:
                throw Bad($"it calls {global.Kind} with other arguments than torch.save does", $"{global.Kind} の呼び出しの引数が torch.save のものと違います");
        }
    }

    private readonly Storage MakeStorage(object?[] identity)
    {
        if (identity is not ["storage", Global { Kind: GlobalKind.Storage, Type: ElementType type }, string key, string, long count, ..])
            throw Bad("a storage is named otherwise than torch.save does", "ストレージの指定が torch.save のものと違います");
        if (identity.Length > 6 || (identity.Length == 6 && identity[5] is not null))
            throw new NotSupportedException(Say(
                $"{path}: has views of storages as PyTorch wrote them before 0.4. Load it with a newer PyTorch and save it again.",
                $"{path}: PyTorch 0.4 より前の形式のストレージのビューがあります。新しい PyTorch で読み込んで保存し直してください。"));
        if (count < 0 || count > long.MaxValue / type.Size()) throw Bad($"storage '{Printable(key)}' has {count} numbers", $"ストレージ '{Printable(key)}' の要素数が {count} です");
        return new Storage(type, key, count);
    }

    private readonly long[] Numbers(Tuple tuple)
    {
        if (tuple.Items.Length > MaxDimensions)
            throw Bad($"a tensor has {tuple.Items.Length} dimensions; {MaxDimensions} are the most there may be", $"{tuple.Items.Length} 次元のテンソルがあります。上限は {MaxDimensions} 次元です");
        long[] numbers = new long[tuple.Items.Length];
        for (int i = 0; i < numbers.Length; i++)
            numbers[i] = tuple.Items[i] is long number and >= 0
                ? number
                : throw Bad("a tensor's shape or stride is not a number from 0 up", "テンソルの形かストライドが 0 以上の数ではありません");
        return numbers;
    }

    private readonly void AddEntries(object?[] keysAndValues)
    {
        if (keysAndValues.Length % 2 != 0) throw Bad("a dictionary has a key without a value", "辞書に値のないキーがあります");
        Entries entries = Top<Entries>("a dictionary", "辞書");
        for (int i = 0; i < keysAndValues.Length; i += 2) entries.Add(new(keysAndValues[i], keysAndValues[i + 1]));
    }

    private readonly void Push(object? value)
    {
        if (_stack.Count >= MaxDepth) throw Bad($"its stack grows beyond {MaxDepth}", $"スタックが {MaxDepth} 段を超えます");
        _stack.Add(value);
    }

    // What lies below the last mark is out of reach.
    private readonly object? Top() =>
        _stack.Count > (_marks.Count > 0 ? _marks[^1] : 0) ? _stack[^1] : throw Bad("its stack is empty where something is expected", "値が必要なところでスタックが空です");

    private readonly T Top<T>(string english, string japanese) =>
        Top() is T value ? value : throw Bad($"{english} is expected", $"{japanese}が必要なところに別のものがあります");

    private readonly object? Pop()
    {
        object? value = Top();
        _stack.RemoveAt(_stack.Count - 1);
        return value;
    }

    private readonly T Pop<T>(string english, string japanese) =>
        Pop() is T value ? value : throw Bad($"{english} is expected", $"{japanese}が必要なところに別のものがあります");

    private readonly object?[] PopToMark()
    {
        if (_marks.Count == 0) throw Bad("a mark is missing", "マークがありません");
        int mark = _marks[^1];
        _marks.RemoveAt(_marks.Count - 1);
        object?[] items = [.. _stack[mark..]];
        _stack.RemoveRange(mark, _stack.Count - mark);
        return items;
    }

    private readonly void Remember(uint index) => _memo[index] = Top();

    private readonly void Recall(uint index) =>
        Push(_memo.TryGetValue(index, out object? value) ? value : throw Bad($"it recalls number {index}, which it never kept", $"保存していない {index} 番を呼び出しています"));

    private uint MemoLine() =>
        uint.TryParse(Line(), NumberStyles.None, CultureInfo.InvariantCulture, out uint index) ? index : throw Bad("a memo has no number", "メモに番号がありません");

    // "I01" and "I00" were truth values in protocol 0; "12L" is a long one.
    private object IntegerLine()
    {
        ReadOnlySpan<byte> line = Line();
        if (line.SequenceEqual("01"u8)) return true;
        if (line.SequenceEqual("00"u8)) return false;
        if (line is [.., (byte)'L']) line = line[..^1];
        return long.TryParse(line, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long number)
            ? number
            : throw Bad("a number is not one, or has more than 64 bits", "数として読めないか、64 ビットを超えています");
    }

    private readonly object Integer(ReadOnlySpan<byte> littleEndian)
    {
        if (littleEndian.Length > MaxIntegerBytes) throw Bad($"a number has {littleEndian.Length} bytes", $"{littleEndian.Length} バイトの数があります");
        if (littleEndian.Length > sizeof(long)) return new BigInteger(littleEndian);     // torch's magic number; never a size
        long number = 0;
        for (int i = 0; i < littleEndian.Length; i++) number |= (long)littleEndian[i] << (8 * i);
        int unused = 64 - (8 * littleEndian.Length);
        return unused == 64 ? 0L : number << unused >> unused;      // the highest bit is the sign
    }

    private readonly string Text(ReadOnlySpan<byte> utf8)
    {
        try
        {
            return StrictUtf8.GetString(utf8);
        }
        catch (DecoderFallbackException inner)
        {
            throw new InvalidDataException(Say(
                $"{path}: the pickle holds a text that is not UTF-8, before byte {Position}.",
                $"{path}: pickle の {Position} バイト目より前に UTF-8 でない文字列があります。"), inner);
        }
    }

    private ReadOnlySpan<byte> Line()
    {
        ReadOnlySpan<byte> rest = _pickle[Position..];
        int end = rest.IndexOf((byte)'\n');
        if (end < 0) throw Bad("it ends in the middle of a line", "行の途中で終わっています");
        Position += end + 1;
        return rest[..end];
    }

    private int Length(int bytes)
    {
        ReadOnlySpan<byte> digits = Bytes(bytes);
        ulong length = 0;
        for (int i = bytes - 1; i >= 0; i--) length = (length << 8) | digits[i];
        if (length > (ulong)(_pickle.Length - Position))
            throw Bad($"something claims {length} bytes, but {_pickle.Length - Position} are left", $"長さが {length} バイトとされていますが、残りは {_pickle.Length - Position} バイトです");
        return (int)length;
    }

    private ReadOnlySpan<byte> Bytes(int count)
    {
        if (count > _pickle.Length - Position) throw Bad("it is cut off", "途中で切れています");
        ReadOnlySpan<byte> bytes = _pickle.Slice(Position, count);
        Position += count;
        return bytes;
    }

    private readonly InvalidDataException Bad(string english, string japanese) => new(Say(
        $"{path}: the pickle is not one of tensors: {english} (before byte {Position}).",
        $"{path}: テンソルの pickle として正しくありません。{japanese}（{Position} バイト目より前）。"));
}
