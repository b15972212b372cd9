using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using static Fude.Tokenizers.Wording;

namespace Fude.Corpus;

/// <summary>Token ids of many documents in two files, NAME.bin and NAME.idx, as Megatron-LM and GPT-NeoX write and read them.</summary>
/// <remarks>
/// NAME.idx (little-endian): "MMIDIDX\0\0", version 1 as 8 bytes, one byte for the number type, the number of sequences and that of document
/// boundaries as 8 bytes each, the length of each sequence as 4 bytes, the place of each in NAME.bin as 8 bytes, and the index of the
/// first sequence of each document, closed by the number of sequences, as 8 bytes each. Both files are mapped, not read: a shard may be
/// larger than memory. Safe for many threads.
/// </remarks>
public sealed unsafe class TokenShard : IDisposable
{
    internal const int HeaderBytes = 34;
    internal const byte UInt8Code = 1, Int8Code = 2, Int16Code = 3, Int32Code = 4, Int64Code = 5, UInt16Code = 8;

    private readonly MappedBytes _index, _tokens;
    private readonly byte _code;

    private TokenShard(string path, MappedBytes index, MappedBytes tokens)
    {
        (Path, _index, _tokens) = (path, index, tokens);
        ReadOnlySpan<byte> header = index.Span(0, HeaderBytes);
        if (!header[..9].SequenceEqual("MMIDIDX\0\0"u8))
            throw new InvalidDataException(Say(
                $"{index.File}: does not begin with MMIDIDX: it is not the index of a token shard.",
                $"{index.File}: 先頭が MMIDIDX ではありません。トークンシャードの索引ではありません。"));
        long version = BinaryPrimitives.ReadInt64LittleEndian(header[9..]);
        if (version != 1) throw new NotSupportedException(Say(
            $"{index.File}: has version {version}; fude reads version 1.",
            $"{index.File}: バージョン {version} には対応していません。読めるのはバージョン 1 です。"));
        _code = header[17];
        TokenBytes = _code switch
        {
            UInt8Code or Int8Code => 1,
            UInt16Code or Int16Code => 2,
            Int32Code => 4,
            Int64Code => 8,
            byte other => throw new NotSupportedException(Say(
                $"{index.File}: holds numbers of type {other}; fude reads the integers, types 1 to 5 and {UInt16Code} (uint16).",
                $"{index.File}: 数値型 {other} には対応していません。読めるのは整数（1 から 5 と {UInt16Code}）です。")),
        };
        long sequences = BinaryPrimitives.ReadInt64LittleEndian(header[18..]), boundaries = BinaryPrimitives.ReadInt64LittleEndian(header[26..]);
        // There may be more documents than sequences: Megatron writes a boundary for an empty document, but no sequence.
        bool isPossible = sequences is >= 0 and <= int.MaxValue && boundaries is >= 1 and <= int.MaxValue;
        if (!isPossible || index.Length < HeaderBytes + sequences * 12 + boundaries * 8)
            throw new InvalidDataException(Say(
                $"{index.File}: has {index.Length} bytes and says that it lists {sequences} sequences and {boundaries} boundaries of documents, " +
                $"which takes {HeaderBytes + (decimal)sequences * 12 + (decimal)boundaries * 8}. The file is cut short or damaged.",
                $"{index.File}: {index.Length} バイトですが、記録された {sequences} 個の系列と {boundaries} 個の文書境界には" +
                $" {HeaderBytes + (decimal)sequences * 12 + (decimal)boundaries * 8} バイト必要です。ファイルが途中で切れているか、破損しています。"));
        // Multimodal shards have a byte more for each sequence.
        if (index.Length - (HeaderBytes + sequences * 12 + boundaries * 8) is > 0 and long tail && tail != sequences)
            throw new InvalidDataException(Say(
                $"{index.File}: has {tail} bytes after the {sequences} sequences and {boundaries} boundaries of documents that it lists. The file is " +
                "damaged, or of two shards. Write the shard anew.",
                $"{index.File}: 記録された {sequences} 個の系列と {boundaries} 個の文書境界の後に、余分な {tail} バイトがあります。" +
                "破損しているか、2 つのシャードが混ざっています。シャードを作り直してください。"));
        (Sequences, Documents) = ((int)sequences, (int)boundaries - 1);
        CheckPlaces();
    }

    /// <summary>The path of the files, without .bin and .idx.</summary>
    public string Path { get; }

    /// <summary>Sequences of tokens; most writers make one of each document.</summary>
    public int Sequences { get; }

    /// <summary>Documents: each is one sequence or several neighbouring ones.</summary>
    public int Documents { get; }

    /// <summary>Tokens of all sequences.</summary>
    public long Tokens { get; private set; }

    private int TokenBytes { get; }

    /// <summary>Opens a shard.</summary>
    /// <param name="path">The path of its files, with or without .bin or .idx.</param>
    /// <exception cref="InvalidDataException">A file is missing, cut short or damaged.</exception>
    /// <exception cref="NotSupportedException">It holds numbers other than integers.</exception>
    public static TokenShard Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (path.EndsWith(".bin", StringComparison.Ordinal) || path.EndsWith(".idx", StringComparison.Ordinal)) path = path[..^4];
        MappedBytes index = new(path + ".idx");
        MappedBytes? tokens = null;
        try
        {
            tokens = new MappedBytes(path + ".bin");
            return new TokenShard(path, index, tokens);
        }
        catch
        {
            index.Dispose();
            tokens?.Dispose();
            throw;
        }
    }

    /// <summary>Tokens of a document.</summary>
    public long LengthOf(int document)
    {
        (int first, int end) = SequencesOf(document);
        long length = 0;
        for (int sequence = first; sequence < end; sequence++) length += SequenceLength(sequence);
        return length;
    }

    /// <summary>Reads some tokens of a document.</summary>
    /// <param name="document">Which one.</param>
    /// <param name="start">The first token that is wanted.</param>
    /// <param name="tokens">Receives them; the document must have as many from start on.</param>
    public void Read(int document, long start, Span<int> tokens)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        (int sequence, int end) = SequencesOf(document);
        while (tokens.Length > 0)
        {
            if (sequence == end) throw new ArgumentException(Say(
                $"Document {document} of {Path} ends before the last token wanted.",
                $"{Path} の文書 {document} は、求められた最後のトークンより前に終わっています。"), nameof(tokens));
            int length = SequenceLength(sequence);
            if (start < length)
            {
                int count = (int)Math.Min(length - start, tokens.Length);
                ReadSequence(sequence, (int)start, tokens[..count]);
                tokens = tokens[count..];
                start = 0;
            }
            else
            {
                start -= length;
            }
            sequence++;
        }
    }

    /// <summary>All tokens of a document.</summary>
    public int[] Read(int document)
    {
        int[] tokens = new int[checked((int)LengthOf(document))];
        Read(document, 0, tokens);
        return tokens;
    }

    /// <summary>Unmaps the files.</summary>
    public void Dispose()
    {
        _index.Dispose();
        _tokens.Dispose();
    }

    private (int First, int End) SequencesOf(int document)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)document, (uint)Documents, nameof(document));
        return ((int)Boundary(document), (int)Boundary(document + 1));
    }

    private int SequenceLength(int sequence) => _index.Int32(HeaderBytes + sequence * 4L);

    private long Place(int sequence) => _index.Int64(HeaderBytes + Sequences * 4L + sequence * 8L);

    private long Boundary(int document) => _index.Int64(HeaderBytes + Sequences * 12L + document * 8L);

    private void ReadSequence(int sequence, int start, Span<int> tokens)
    {
        ReadOnlySpan<byte> bytes = _tokens.Span(Place(sequence) + (long)start * TokenBytes, checked(tokens.Length * TokenBytes));
        switch (_code)
        {
            case UInt16Code:
                for (int i = 0; i < tokens.Length; i++) tokens[i] = BinaryPrimitives.ReadUInt16LittleEndian(bytes[(2 * i)..]);
                break;
            case Int32Code:
                for (int i = 0; i < tokens.Length; i++) tokens[i] = BinaryPrimitives.ReadInt32LittleEndian(bytes[(4 * i)..]);
                break;
            case Int16Code:
                for (int i = 0; i < tokens.Length; i++) tokens[i] = BinaryPrimitives.ReadInt16LittleEndian(bytes[(2 * i)..]);
                break;
            case Int64Code:
                // What is no id is -1 here, which no vocabulary has.
                for (int i = 0; i < tokens.Length; i++)
                    tokens[i] = BinaryPrimitives.ReadInt64LittleEndian(bytes[(8 * i)..]) is >= 0 and <= int.MaxValue and long id ? (int)id : -1;
                break;
            case Int8Code:
                for (int i = 0; i < tokens.Length; i++) tokens[i] = (sbyte)bytes[i];
                break;
            default:
                for (int i = 0; i < tokens.Length; i++) tokens[i] = bytes[i];
                break;
        }
    }

    // Everything that reading relies on, once: lengths and places within NAME.bin, boundaries in order.
    private void CheckPlaces()
    {
        for (int sequence = 0; sequence < Sequences; sequence++)
        {
            int length = SequenceLength(sequence);
            long place = Place(sequence), bytes = (long)length * TokenBytes;
            if (length < 0 || place < 0 || place > _tokens.Length || bytes > _tokens.Length - place)
                throw new InvalidDataException(Say(
                    $"{_index.File}: says that sequence {sequence} has {length} tokens from byte {place} on, but {_tokens.File} has " +
                    $"{_tokens.Length} bytes. The two files are not of one shard, or one is cut short.",
                    $"{_index.File}: 系列 {sequence} は {place} バイト目から {length} トークンとされていますが、{_tokens.File} は" +
                    $" {_tokens.Length} バイトです。2 つのファイルが同じシャードのものでないか、途中で切れています。"));
            Tokens += length;
        }
        // Sequences that share bytes would make texts that are larger than the file.
        if (Tokens > _tokens.Length / TokenBytes)
            throw new InvalidDataException(Say(
                $"{_index.File}: lists {Tokens} tokens, but {_tokens.File} has {_tokens.Length / TokenBytes}: sequences overlap. The index is damaged.",
                $"{_index.File}: {Tokens} トークンとされていますが、{_tokens.File} には {_tokens.Length / TokenBytes} トークンしかなく、系列が重なっています。索引が壊れています。"));
        // And those that leave bytes out are of another file.
        if (Tokens * TokenBytes < _tokens.Length)
            throw new InvalidDataException(Say(
                $"{_index.File}: lists {Tokens} tokens, {Tokens * TokenBytes} bytes, but {_tokens.File} has {_tokens.Length}. The two files are not of one shard, " +
                "or something was appended. Write the shard anew.",
                $"{_index.File}: {Tokens} トークン（{Tokens * TokenBytes} バイト）とされていますが、{_tokens.File} は {_tokens.Length} バイトです。" +
                "2 つのファイルが同じシャードのものでないか、末尾に何かが追加されています。シャードを作り直してください。"));
        long last = 0;
        for (int document = 0; document <= Documents; document++)
        {
            long boundary = Boundary(document);
            if (boundary < last || boundary > Sequences || (document == 0 && boundary != 0))
                throw new InvalidDataException(Say(
                    $"{_index.File}: boundary {document} of the documents is {boundary}, after {last} of {Sequences}.",
                    $"{_index.File}: 文書の境界 {document} が {boundary} です。直前の境界 {last} 以上、系列数 {Sequences} 以下でなければなりません。"));
            last = boundary;
        }
        if (last < Sequences)
            throw new InvalidDataException(Say(
                $"{_index.File}: its documents end with sequence {last} of {Sequences}: the last document was not ended when it was written. Write it anew.",
                $"{_index.File}: 文書が全 {Sequences} 系列のうち {last} 番目で終わっています。最後の文書を閉じずに書き込まれたようです。作り直してください。"));
    }

    /// <summary>A file mapped for reading.</summary>
    private sealed class MappedBytes : IDisposable
    {
        private readonly MemoryMappedFile? _mapping;
        private readonly MemoryMappedViewAccessor? _view;
        private readonly byte* _first;

        public MappedBytes(string file)
        {
            File = file;
            if (!System.IO.File.Exists(file)) throw new InvalidDataException(Say(
                $"{file}: there is no such file; a shard is NAME.bin and NAME.idx.",
                $"{file}: そのようなファイルはありません。シャードは NAME.bin と NAME.idx の組です。"));
            // Of the file itself: a FileInfo of a link has the link's length.
            using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            Length = stream.Length;
            if (Length == 0) return;        // what is empty cannot be mapped
            _mapping = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
            _view = _mapping.CreateViewAccessor(0, Length, MemoryMappedFileAccess.Read);
            _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _first);
        }

        public string File { get; }

        public long Length { get; }

        public ReadOnlySpan<byte> Span(long start, int count)
        {
            if (start < 0 || count > Length - start)
                throw new InvalidDataException(Say(
                    $"{File}: has {Length} bytes; {count} are wanted from byte {start} on. It is cut short.",
                    $"{File}: {Length} バイトしかなく、{start} バイト目から {count} バイトを読めません。途中で切れています。"));
            return new ReadOnlySpan<byte>(_first + start, count);
        }

        public int Int32(long start) => BinaryPrimitives.ReadInt32LittleEndian(new ReadOnlySpan<byte>(_first + start, 4));

        public long Int64(long start) => BinaryPrimitives.ReadInt64LittleEndian(new ReadOnlySpan<byte>(_first + start, 8));

        public void Dispose()
        {
            if (_view is null) return;
            _view.SafeMemoryMappedViewHandle.ReleasePointer();
            _view.Dispose();
            _mapping!.Dispose();
        }
    }
}
