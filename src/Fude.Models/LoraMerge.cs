using System.Numerics;
using System.Runtime.InteropServices;
using Fude.Tensors;
using Fude.Tokenizers.Training;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>Writes a model whose weights have an adapter's products added to them: W + scale·B·A, in Hugging Face's layout.</summary>
public static class LoraMerge
{
    // What stands beside the weights and still describes the merged model.
    private static readonly string[] Companions =
    [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja", "chat_template.json", PromptFormat.RecordName,
    ];

    private const string Pending = ".pending", Lock = ".writing";

    /// <summary>Merges a model and an adapter into a new folder: all of it, or nothing. What a killed process left of it goes.</summary>
    /// <param name="model">The base model.</param>
    /// <param name="adapterFolder">A PEFT adapter to it.</param>
    /// <param name="outputFolder">Must not exist yet, or be empty.</param>
    /// <param name="maxShardBytes">Bytes of weights in a file at most.</param>
    /// <param name="stop">Gives up between two tensors; nothing is left of the output folder then.</param>
    /// <exception cref="IOException">The output folder is not empty, or the disk is full.</exception>
    /// <exception cref="InvalidDataException">Model and adapter do not fit each other, or a file is damaged.</exception>
    /// <exception cref="NotSupportedException">The adapter changes more than the weights of linear layers.</exception>
    /// <remarks>Sums are taken in float32 and rounded to the nearest even number of the weight's own format. Tensors that are not adapted
    /// are copied bit by bit.</remarks>
    public static void Write(
        ModelFolder model, string adapterFolder, string outputFolder, long maxShardBytes = 5_000_000_000, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        model.RequireFolder(Say("merging an adapter", "アダプターの組み込み"));
        if (outputFolder.Length == 0)
            throw new ArgumentException(Say(
                "The output's path is empty: give a folder to write.", "出力先のパスが空です。書き出すフォルダーを指定してください。"), nameof(outputFolder));
        string output = Path.TrimEndingDirectorySeparator(Path.GetFullPath(outputFolder));
        if (File.Exists(output) || (Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any()))
            throw IsThere(outputFolder);

        // A model of shapes alone tells which layers take which matrices, and that they fit.
        LoraAdapter adapter = LoraAdapter.Open(adapterFolder);
        using LanguageModel shapes = LanguageModel.Create(model.Config, new ShapeWeights(), adapter);
        if (model.Config.TiedHead && adapter.Taken("lm_head") is not null)
            throw new NotSupportedException(Say(
                $"{adapterFolder} adapts lm_head, whose weight is the word embedding too (tie_word_embeddings in {model.ConfigPath}): " +
                "it cannot be merged without untying them. Use it unmerged.",
                $"{adapterFolder} は lm_head に適用されますが、その重みは単語埋め込みと共有されています（{model.ConfigPath} の tie_word_embeddings）。" +
                "共有を解かずに組み込むことはできません。組み込まずに使ってください。"));
        using Checkpoint checkpoint = Checkpoint.Open(model.Path);
        HashSet<LowRank> merged = [];
        List<NewTensor> tensors =
            [.. checkpoint.Tensors.Values.Select(tensor => Merged(tensor, checkpoint, model.Config, adapter, merged))];
        if (merged.Count != adapter.Modules.Count)
            throw new InvalidDataException(Say(
                $"{checkpoint.Path} lacks the weights of {adapter.Modules.Count - merged.Count} of the {adapter.Modules.Count} layers " +
                $"that {adapterFolder} adapts. The weights and config.json are not of one model.",
                $"{checkpoint.Path} には、{adapterFolder} が適用される {adapter.Modules.Count} 層のうち " +
                $"{adapter.Modules.Count - merged.Count} 層の重みがありません。重みと config.json が同じモデルのものではありません。"));

        string parent = Path.GetDirectoryName(output) ?? throw new IOException(
            Say($"{outputFolder} cannot be written over.", $"{outputFolder} には上書きできません。"));
        Directory.CreateDirectory(parent);
        DeleteLeft(parent, $".{Path.GetFileName(output)}.");
        string pending = Path.Combine(parent, $".{Path.GetFileName(output)}.{Guid.NewGuid():N}{Pending}");
        FileStream? writing = null;
        try
        {
            Directory.CreateDirectory(pending);
            writing = new FileStream(Path.Combine(pending, Lock), FileMode.CreateNew, FileAccess.Write, OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None);
            foreach (string name in Companions)
                if (File.Exists(Path.Combine(model.Path, name))) Copy(Path.Combine(model.Path, name), pending);
            // The merged model answers in the format that the adapter was trained with.
            string template = Path.Combine(adapterFolder, "chat_template.jinja"), record = Path.Combine(adapterFolder, PromptFormat.RecordName);
            bool hasTemplate = File.Exists(template), hasRecord = File.Exists(record);
            if (hasRecord) Copy(record, pending);
            else if (hasTemplate) File.WriteAllText(Path.Combine(pending, PromptFormat.RecordName), $$"""{"name": "{{PromptFormat.TemplateName}}"}""");
            if (hasTemplate || hasRecord) PromptFormat.WriteTemplate(pending, hasTemplate ? File.ReadAllText(template) : null);
            SafeTensors.WriteSharded(pending, tensors.ConvertAll(tensor => Stoppable(tensor, stop)), maxShardBytes);
            // Whoever wrote there meanwhile keeps it.
            if (Directory.Exists(output) && Directory.EnumerateFileSystemEntries(output).Any()) throw IsThere(outputFolder);
            if (Directory.Exists(output)) Directory.Delete(output);
            // In this order: who finds the file finds it locked.
            File.Delete(Path.Combine(pending, Lock));
            writing.Dispose();
            Directory.Move(pending, output);
        }
        finally
        {
            writing?.Dispose();
            if (Directory.Exists(pending)) Directory.Delete(pending, recursive: true);
        }
    }

    // What killed processes left of this folder. One that still writes has its file locked.
    private static void DeleteLeft(string parent, string prefix)
    {
        foreach (string left in Directory.EnumerateDirectories(parent))
        {
            string name = Path.GetFileName(left), file = Path.Combine(left, Lock);
            if (!name.StartsWith(prefix, StringComparison.Ordinal) || !name.EndsWith(Pending, StringComparison.Ordinal)
                || !Guid.TryParseExact(name.AsSpan(prefix.Length, Math.Max(0, name.Length - prefix.Length - Pending.Length)), "N", out _) || !File.Exists(file)) continue;
            try
            {
                new FileStream(file, FileMode.Open, FileAccess.Write, FileShare.None).Dispose();
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                continue;
            }
            Directory.Delete(left, recursive: true);
        }
    }

    // What it holds and not its permissions: a read-only one could not be written over.
    private static void Copy(string file, string folder) => AtomicFile.Write(Path.Combine(folder, Path.GetFileName(file)), File.ReadAllBytes(file));

    private static IOException IsThere(string outputFolder) => new(Say(
        $"{outputFolder} is there already and not an empty folder: choose a new one.",
        $"{outputFolder} は既にあり、空のフォルダーではありません。新しいフォルダーを指定してください。"));

    private static NewTensor Stoppable(NewTensor tensor, CancellationToken stop) => tensor with
    {
        WriteNumbers = stream =>
        {
            stop.ThrowIfCancellationRequested();
            tensor.WriteNumbers(stream);
        },
    };

    private static NewTensor Merged(
        StoredTensor tensor, Checkpoint checkpoint, ModelConfig config, LoraAdapter adapter, HashSet<LowRank> merged)
    {
        const string Ending = ".weight";
        if (!tensor.Name.EndsWith(Ending, StringComparison.Ordinal) || adapter.Taken(tensor.Name[..^Ending.Length]) is not { } matrices)
            return NewTensor.Of(tensor);
        int outputs = matrices.Up.Rows, inputs = matrices.Down.Columns;
        bool transposed = config is Gpt2Config && tensor.Name != "lm_head.weight";      // Conv1D
        if (tensor.Type == ElementType.F64)
            throw new NotSupportedException(Say(
                $"{tensor.File}: tensor '{tensor.Name}' is F64; fude merges into F32, F16 and BF16.",
                $"{tensor.File}: テンソル '{tensor.Name}' は F64 です。組み込み先の重みは F32、F16、BF16 でなければなりません。"));
        Weight weight = transposed ? checkpoint.Matrix(tensor.Name, inputs, outputs) : checkpoint.Matrix(tensor.Name, outputs, inputs);
        adapter.RequireBase(tensor.Name[..^Ending.Length], weight, transposed: false);       // both as files have them
        merged.Add(matrices);
        return new NewTensor(tensor.Name, tensor.Type, tensor.Shape, stream => WriteSum(stream, weight, matrices, transposed));
    }

    // W + scale·B·A row by row; with W = [in, out] row i is W[i] + scale·Σᵣ A[r, i]·Bᵀ[r].
    private static void WriteSum(Stream stream, Weight weight, LowRank matrices, bool transposed)
    {
        int rank = matrices.Down.Rows;
        float[] down = matrices.Down.ToFloats(), up = matrices.Up.ToFloats();
        float[] across = transposed ? Transposed(up, matrices.Up.Rows, rank) : down;     // [rank, columns of the stored weight]
        float[] sum = new float[weight.Columns], row = new float[weight.Columns];
        byte[] bytes = new byte[weight.Format.Bytes(weight.Columns)];
        for (int i = 0; i < weight.Rows; i++)
        {
            sum.AsSpan().Clear();
            for (int r = 0; r < rank; r++)
            {
                float factor = transposed ? down[(r * matrices.Down.Columns) + i] : up[(i * rank) + r];
                AddScaled(sum, across.AsSpan(r * weight.Columns, weight.Columns), factor);
            }
            weight.ReadRow(i, row);
            AddScaled(row, sum, matrices.Scale);
            if (weight.Format == NumberFormat.F16)
                for (int j = 0; j < row.Length; j++)
                    if (float.IsFinite(row[j]) && !Half.IsFinite((Half)row[j]))
                        throw new InvalidDataException(Say(
                            $"'{weight.Name}' and the adapter's part of it sum up to {row[j]} in row {i}, which F16 cannot hold: the model's weights have to be F32 or BF16 to be merged.",
                            $"'{weight.Name}' とアダプターの和が行 {i} で {row[j]} になり、F16 では表せません。組み込むには、重みが F32 か BF16 のモデルが必要です。"));
            weight.Format.Narrow(row, bytes);
            stream.Write(bytes);
        }
    }

    private static void AddScaled(Span<float> y, ReadOnlySpan<float> x, float factor)
    {
        Span<Vector<float>> wideY = MemoryMarshal.Cast<float, Vector<float>>(y);
        ReadOnlySpan<Vector<float>> wideX = MemoryMarshal.Cast<float, Vector<float>>(x);
        for (int i = 0; i < wideY.Length; i++) wideY[i] += wideX[i] * factor;
        for (int i = wideY.Length * Vector<float>.Count; i < y.Length; i++) y[i] += x[i] * factor;
    }

    private static float[] Transposed(float[] matrix, int rows, int columns)
    {
        float[] result = new float[matrix.Length];
        for (int r = 0; r < rows; r++) for (int c = 0; c < columns; c++) result[(c * rows) + r] = matrix[(r * columns) + c];
        return result;
    }
}
