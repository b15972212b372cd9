using System.Buffers.Binary;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>A file of torch.save: a dictionary of tensors, in today's archive or in the format from before PyTorch 1.6.</summary>
internal sealed class PyTorchFile : IDisposable
{
    // The pickle of the magic number that files from before 1.6 begin with (torch/serialization.py, MAGIC_NUMBER).
    private static ReadOnlySpan<byte> LegacyMagic =>
        [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

    private readonly MappedFile _file;
    private readonly Dictionary<string, StoredTensor> _tensors = new(StringComparer.Ordinal);

    private PyTorchFile(MappedFile file) => _file = file;

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, StoredTensor> Tensors => _tensors;

    /// <summary>Maps a file and reads what it says about its tensors; no code in it is run.</summary>
    public static PyTorchFile Open(string path)
    {
        MappedFile mapped = MappedFile.Open(path);
        PyTorchFile file = new(mapped);
        try
        {
            ReadOnlySpan<byte> start = mapped.Span(0, (int)Math.Min(mapped.Length, LegacyMagic.Length));
            if (start.StartsWith("PK"u8)) file.ReadArchive();
            else if (start.SequenceEqual(LegacyMagic)) file.ReadLegacy();
            else
                throw new InvalidDataException(Say(
                    $"{path}: is not a file of torch.save. fude reads safetensors, and PyTorch's files in the archive format " +
                    "and the one before it.",
                    $"{path}: torch.save のファイルではありません。fude が読めるのは safetensors と、PyTorch のアーカイブ形式およびその前の形式です。"));
            return file;
        }
        catch
        {
            mapped.Dispose();
            throw;
        }
    }

    public void Dispose() => _file.Dispose();

    private void ReadArchive()
    {
        Dictionary<string, StoredZip.Entry> entries = StoredZip.Read(_file);
        string[] pickles = [.. entries.Keys.Where(name => name == "data.pkl" || name.EndsWith("/data.pkl", StringComparison.Ordinal))];
        if (pickles is not [string pickleName])
            throw new InvalidDataException(Say(
                $"{_file.Path}: an archive of torch.save has one data.pkl, this one has {pickles.Length}.",
                $"{_file.Path}: torch.save のアーカイブには data.pkl がひとつあるはずですが、{pickles.Length} 個あります。"));
        string folder = pickleName[..^"data.pkl".Length];
        if (entries.ContainsKey(folder + "constants.pkl"))
            throw new NotSupportedException(Say(
                $"{_file.Path}: is a TorchScript program. fude reads weights alone: " +
                "save model.state_dict() with torch.save, or as safetensors.",
                $"{_file.Path}: TorchScript のプログラムです。fude が読むのは重みだけなので、" +
                "model.state_dict() を torch.save で、または safetensors で保存してください。"));
        if (entries.TryGetValue(folder + "byteorder", out StoredZip.Entry order)
            && (order.Length != 6 || !_file.Span(order.Offset, 6).SequenceEqual("little"u8)))
            throw new NotSupportedException(Say(
                $"{_file.Path}: has big-endian numbers; fude reads little-endian ones.",
                $"{_file.Path}: 数値がビッグエンディアンです。fude が読めるのはリトルエンディアンだけです。"));

        StoredZip.Entry pickle = entries[pickleName];
        if (pickle.Length > Unpickler.MaxBytes)
            throw new InvalidDataException(Say(
                $"{_file.Path}: data.pkl has {pickle.Length} bytes; {Unpickler.MaxBytes} are the most it may have.",
                $"{_file.Path}: data.pkl が {pickle.Length} バイトあります。上限は {Unpickler.MaxBytes} バイトです。"));
        object? root = new Unpickler(_file.Span(pickle.Offset, (int)pickle.Length), _file.Path).Run();
        AddTensors(root, storage =>
        {
            if (!entries.TryGetValue($"{folder}data/{storage.Key}", out StoredZip.Entry entry))
                throw new InvalidDataException(Say(
                    $"{_file.Path}: storage '{storage.Key}' is not in the archive.",
                    $"{_file.Path}: ストレージ '{storage.Key}' がアーカイブにありません。"));
            CheckLength(storage, entry.Length);
            return entry.Offset;
        });
    }

    // Five pickles (magic number, version, byte order, the dictionary, the order of storages), then each storage: its count and numbers.
    private void ReadLegacy()
    {
        long position = LegacyMagic.Length;
        if (NextPickle(ref position) is not 1001L)
            throw new NotSupportedException(Say(
                $"{_file.Path}: is of an unknown version of PyTorch's old format. Save it again with a newer PyTorch.",
                $"{_file.Path}: PyTorch の旧形式ですが、未知のバージョンです。新しい PyTorch で保存し直してください。"));
        if (NextPickle(ref position) is not Unpickler.Entries system || !system.Contains(new("little_endian", true)))
            throw new NotSupportedException(Say(
                $"{_file.Path}: has big-endian numbers; fude reads little-endian ones.",
                $"{_file.Path}: 数値がビッグエンディアンです。fude が読めるのはリトルエンディアンだけです。"));
        object? root = NextPickle(ref position);
        if (NextPickle(ref position) is not List<object?> keys)
            throw new InvalidDataException(
                Say($"{_file.Path}: the list of storages is missing.", $"{_file.Path}: ストレージの一覧がありません。"));

        Dictionary<string, Unpickler.Storage> storages = new(StringComparer.Ordinal);
        foreach (Unpickler.TensorView tensor in NamedTensors(root).Select(pair => pair.Tensor))
            if (!storages.TryAdd(tensor.Storage.Key, tensor.Storage) && storages[tensor.Storage.Key] != tensor.Storage)
                throw new InvalidDataException(Say(
                    $"{_file.Path}: storage '{tensor.Storage.Key}' is described in two ways.",
                    $"{_file.Path}: ストレージ '{tensor.Storage.Key}' の記述が 2 通りあります。"));
        Dictionary<string, long> offsets = new(StringComparer.Ordinal);
        foreach (object? key in keys)
        {
            if (key is not string name || !storages.TryGetValue(name, out Unpickler.Storage? storage) || offsets.ContainsKey(name))
                throw new InvalidDataException(Say(
                    $"{_file.Path}: the list of storages names one that no tensor uses, or one twice.",
                    $"{_file.Path}: ストレージの一覧に、どのテンソルも使わないものか、重複したものがあります。"));
            if (position > _file.Length - 8)
                throw new InvalidDataException(Say(
                    $"{_file.Path}: is cut off. Download or copy it again.",
                    $"{_file.Path}: 途中で切れています。ダウンロードまたはコピーをやり直してください。"));
            long count = BinaryPrimitives.ReadInt64LittleEndian(_file.Span(position, 8));
            position += 8;
            if (count != storage.Count || count > (_file.Length - position) / storage.Type.Size())
                throw new InvalidDataException(Say(
                    $"{_file.Path}: storage '{name}' of {storage.Count} numbers has {count}, and " +
                    $"{_file.Length - position} bytes are left. " +
                    "The file is cut off or damaged: download or copy it again.",
                    $"{_file.Path}: 要素数 {storage.Count} のストレージ '{name}' に {count} 個とあり、残りは {_file.Length - position} バイトです。" +
                    "ファイルが途中で切れているか、破損しています。ダウンロードまたはコピーをやり直してください。"));
            offsets.Add(name, position);
            position += count * storage.Type.Size();
        }
        AddTensors(root, storage => offsets.TryGetValue(storage.Key, out long offset)
            ? offset
            : throw new InvalidDataException(Say(
                $"{_file.Path}: storage '{storage.Key}' is not in the file.",
                $"{_file.Path}: ストレージ '{storage.Key}' がファイルにありません。")));
    }

    private object? NextPickle(ref long position)
    {
        Unpickler unpickler = new(_file.Span(position, (int)Math.Min(_file.Length - position, Unpickler.MaxBytes)), _file.Path);
        object? value = unpickler.Run();
        position += unpickler.Position;
        return value;
    }

    private void CheckLength(Unpickler.Storage storage, long bytes)
    {
        if (bytes != storage.Count * storage.Type.Size())
            throw new InvalidDataException(Say(
                $"{_file.Path}: storage '{storage.Key}' has {bytes} bytes, but {storage.Count} numbers of " +
                $"{storage.Type.FileName()} are expected.",
                $"{_file.Path}: ストレージ '{storage.Key}' は {bytes} バイトですが、{storage.Type.FileName()} の数が {storage.Count} 個必要です。"));
    }

    private IEnumerable<(string Name, Unpickler.TensorView Tensor)> NamedTensors(object? root)
    {
        if (root is not Unpickler.Entries entries)
            throw new InvalidDataException(Say(
                $"{_file.Path}: does not hold a dictionary of tensors. Save model.state_dict().",
                $"{_file.Path}: テンソルの辞書が入っていません。model.state_dict() を保存してください。"));
        foreach ((object? key, object? value) in entries)
        {
            if (key is not string name)
                throw new InvalidDataException(Say(
                    $"{_file.Path}: a tensor has a name that is not a text.", $"{_file.Path}: 名前が文字列でないテンソルがあります。"));
            if (value is not Unpickler.TensorView tensor)
                throw new NotSupportedException(Say(
                    $"{_file.Path}: '{name}' is not a tensor. fude reads a model's weights, not a whole training state: " +
                    "save model.state_dict().",
                    $"{_file.Path}: '{name}' はテンソルではありません。fude が読むのはモデルの重みで、学習の途中状態全体ではありません。" +
                    "model.state_dict() を保存してください。"));
            yield return (name, tensor);
        }
    }

    private void AddTensors(object? root, Func<Unpickler.Storage, long> locate)
    {
        foreach ((string name, Unpickler.TensorView view) in NamedTensors(root))
        {
            CheckBounds(name, view);
            long first = locate(view.Storage) + (view.Offset * view.Storage.Type.Size());
            StoredTensor tensor = new(_file.Path, name, view.Storage.Type, view.Shape, view.Strides, _file.At(first));
            if (!_tensors.TryAdd(name, tensor))
                throw new InvalidDataException(Say(
                    $"{_file.Path}: has two tensors named '{name}'.", $"{_file.Path}: '{name}' という名前のテンソルが 2 つあります。"));
        }
    }

    // The last element, offset + Σ (size − 1)·stride, lies in the storage; no product is formed before it is known to be small.
    private void CheckBounds(string name, Unpickler.TensorView view)
    {
        bool sound = view.Shape.Length == view.Strides.Length && StoredTensor.CountOf(view.Shape) is not null
            && view.Offset >= 0 && view.Offset <= view.Storage.Count;
        if (sound && !view.Shape.Contains(0))
        {
            long last = view.Offset;
            sound = last < view.Storage.Count;
            for (int axis = 0; sound && axis < view.Shape.Length; axis++)
            {
                long steps = view.Shape[axis] - 1, stride = view.Strides[axis];
                if (steps == 0 || stride == 0) continue;
                sound = steps <= (view.Storage.Count - 1 - last) / stride;
                if (sound) last += steps * stride;
            }
        }
        if (!sound)
            throw new InvalidDataException(Say(
                $"{_file.Path}: tensor '{name}' [{string.Join(", ", view.Shape)}] with strides [{string.Join(", ", view.Strides)}] " +
                $"from {view.Offset} on does not lie in its storage of {view.Storage.Count} numbers. The file is damaged.",
                $"{_file.Path}: テンソル '{name}' [{string.Join(", ", view.Shape)}]（ストライド [{string.Join(", ", view.Strides)}]、" +
                $"位置 {view.Offset} から）が、要素数 {view.Storage.Count} のストレージに収まりません。ファイルが破損しています。"));
    }
}
