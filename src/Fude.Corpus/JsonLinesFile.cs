using System.IO.Compression;
using System.Text.Encodings.Web;
using System.Text.Json;
using Fude.Shared;

namespace Fude.Corpus;

/// <summary>A JSONL file that is being written, packed by gzip where its name ends in .gz. It appears whole or not at all.</summary>
internal sealed class JsonLinesFile : IDisposable
{
    private readonly string _path, _pending;
    private readonly FileStream _file;
    private readonly Stream _stream;
    private readonly MemoryStream _line = new();
    private bool _isDone;

    internal JsonLinesFile(string path)
    {
        _path = Path.GetFullPath(path);
        string folder = Path.GetDirectoryName(_path)!;
        _ = Directory.CreateDirectory(folder);
        _pending = PendingName.Of(_path);
        _file = new FileStream(_pending, FileMode.CreateNew, FileAccess.Write, FileShare.None, 1 << 16);
        _stream = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? new GZipStream(_file, CompressionLevel.Optimal, leaveOpen: true) : _file;
    }

    internal long Lines { get; private set; }

    /// <summary>Adds an object.</summary>
    /// <param name="properties">Writes what is in it.</param>
    internal void Add(Action<Utf8JsonWriter> properties)
    {
        _line.SetLength(0);
        using (Utf8JsonWriter json = new(_line, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            properties(json);
            json.WriteEndObject();
        }
        _line.WriteByte((byte)'\n');
        _stream.Write(_line.GetBuffer(), 0, (int)_line.Length);
        Lines++;
    }

    /// <summary>Puts the file in its place.</summary>
    internal void Complete()
    {
        if (_stream != _file) _stream.Dispose();
        _file.Flush(flushToDisk: true);
        _file.Dispose();
        File.Move(_pending, _path, overwrite: true);
        _isDone = true;
    }

    public void Dispose()
    {
        try
        {
            // Each writes what it still holds, and fails again where the disk is full.
            using (_file) _stream.Dispose();
        }
        finally
        {
            _line.Dispose();
            if (!_isDone) File.Delete(_pending);
        }
    }
}
