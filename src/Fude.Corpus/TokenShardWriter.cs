using System.Buffers.Binary;
using Fude.Shared;
using Fude.Tokenizers;
using static Fude.Tokenizers.Wording;

namespace Fude.Corpus;

/// <summary>Writes a <see cref="TokenShard"/>, document by document. The files get their names when it is complete.</summary>
public sealed class TokenShardWriter : IDisposable
{
    private static readonly string[] Endings = [ShardTokenizer.Extension, ".bin", ".idx"];

    private readonly string _path, _pending;
    private readonly bool _isWide;
    private readonly int _vocabulary;
    private readonly FileStream _tokens;
    private readonly List<int> _lengths = [];
    private byte[] _bytes = [];
    private bool _isDone;

    /// <summary>Begins a shard.</summary>
    /// <param name="path">The path of its files, without .bin and .idx.</param>
    /// <param name="vocabulary">Ids are below it; up to 65,500 they take 2 bytes each, beyond that 4.</param>
    public TokenShardWriter(string path, int vocabulary)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabulary);
        _path = Path.GetFullPath(path);
        _pending = PendingName.Of(_path, Endings);
        _vocabulary = vocabulary;
        _isWide = vocabulary > 65_500;
        _tokens = new FileStream(_pending + ".bin", FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);
    }

    /// <summary>What made the ids, which the shard then says: see <see cref="ShardTokenizer"/>; null where that is not known.</summary>
    public Tokenizer? Tokenizer { get; init; }

    /// <summary>Tokens so far.</summary>
    public long Tokens { get; private set; }

    /// <summary>Documents so far.</summary>
    public int Documents => _lengths.Count;

    /// <summary>Adds a document, with whatever token ends it.</summary>
    /// <exception cref="ArgumentException">It is empty, or an id is not below the vocabulary.</exception>
    public void Add(ReadOnlySpan<int> document)
    {
        if (document.IsEmpty) throw new ArgumentException("A document has at least one token.", nameof(document));
        int size = _isWide ? 4 : 2, bytes = checked(document.Length * size);
        if (_bytes.Length < bytes) _bytes = new byte[Math.Max(bytes, 2 * _bytes.Length)];
        for (int i = 0; i < document.Length; i++)
        {
            int token = document[i];
            if ((uint)token >= (uint)_vocabulary)
                throw new ArgumentException(Say(
                    $"Token id {token} of document {Documents} is not from 0 to {_vocabulary - 1}.",
                    $"文書 {Documents} のトークン ID {token} が 0 から {_vocabulary - 1} の範囲にありません。"), nameof(document));
            if (_isWide) BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(i * size), token);
            else BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(i * size), (ushort)token);
        }
        _tokens.Write(_bytes, 0, bytes);
        _lengths.Add(document.Length);
        Tokens += document.Length;
    }

    /// <summary>Writes the index, and what says whose ids these are, and gives all files their names, replacing those of an earlier shard.</summary>
    /// <exception cref="IOException">A file cannot be written; an earlier shard is then as it was.</exception>
    public void Complete()
    {
        ObjectDisposedException.ThrowIf(_isDone, this);
        foreach (string ending in Endings)
            if (Directory.Exists(_path + ending))
                throw new IOException(Say($"{_path}{ending} cannot be written: it is a folder.", $"{_path}{ending} はフォルダーのため、書き込めません。"));
        _tokens.Flush(flushToDisk: true);
        _tokens.Dispose();
        using (FileStream index = new(_pending + ".idx", FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16))
        {
            byte[] header = new byte[TokenShard.HeaderBytes];
            "MMIDIDX\0\0"u8.CopyTo(header);
            BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(9), 1);
            header[17] = _isWide ? TokenShard.Int32Code : TokenShard.UInt16Code;
            BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(18), _lengths.Count);
            BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(26), _lengths.Count + 1L);
            index.Write(header);
            Span<byte> number = stackalloc byte[8];
            foreach (int length in _lengths)
            {
                BinaryPrimitives.WriteInt32LittleEndian(number, length);
                index.Write(number[..4]);
            }
            long place = 0;
            foreach (int length in _lengths)
            {
                BinaryPrimitives.WriteInt64LittleEndian(number, place);
                index.Write(number);
                place += (long)length * (_isWide ? 4 : 2);
            }
            for (long document = 0; document <= _lengths.Count; document++)
            {
                BinaryPrimitives.WriteInt64LittleEndian(number, document);
                index.Write(number);
            }
            index.Flush(flushToDisk: true);
        }
        if (Tokenizer is not null) ShardTokenizer.Write(_pending, Tokenizer);
        // All is on the disk: from here on there are only names to change. An index without its tokens is found out when it is opened; the other way
        // round the shard does not exist.
        File.Delete(_path + ".idx");
        if (Tokenizer is null) File.Delete(_path + ShardTokenizer.Extension);
        else File.Move(_pending + ShardTokenizer.Extension, _path + ShardTokenizer.Extension, overwrite: true);
        File.Move(_pending + ".bin", _path + ".bin", overwrite: true);
        File.Move(_pending + ".idx", _path + ".idx", overwrite: true);
        _isDone = true;
    }

    /// <summary>Leaves nothing behind unless the shard is complete.</summary>
    public void Dispose()
    {
        try
        {
            _tokens.Dispose();      // which writes what it still holds, and fails again where the disk is full
        }
        finally
        {
            if (!_isDone)
                foreach (string ending in Endings) File.Delete(_pending + ending);
            _isDone = true;
        }
    }
}
