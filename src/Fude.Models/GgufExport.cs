using System.Runtime.InteropServices;
using Fude.Tensors;
using Fude.Tokenizers;

namespace Fude.Models;

/// <summary>Writes models as GGUF files, which llama.cpp and fude read.</summary>
public static class GgufExport
{
    /// <summary>Writes the model of a folder: configuration, weights, and the tokenizer where there is one.</summary>
    /// <param name="folder">A model's folder in Hugging Face's layout, or a GGUF file.</param>
    /// <param name="path">The file; one that is there is replaced when the new one is complete.</param>
    /// <param name="mix">The number formats.</param>
    /// <param name="importance">Mean square of the input of each column, by the weight's name in the checkpoint; null where all count the
    /// same.</param>
    /// <param name="progress">Hears what part of the tensors is written, from 0 to 1.</param>
    /// <exception cref="InvalidDataException">A file is missing or damaged, or the files are not of one model.</exception>
    /// <exception cref="NotSupportedException">The model or its tokenizer has something that GGUF files have no word for.</exception>
    public static void Write(
        ModelFolder folder, string path, QuantizationMix mix, Func<string, float[]?>? importance = null, IProgress<double>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        Tokenizer? tokenizer = folder.HasTokenizer ? folder.Tokenizer : null;
        folder.RequireWeightsUsed();
        Write(folder.Config, folder.OpenWeights, tokenizer, folder.Name, path, mix, importance, progress,
            [.. PromptFormat.Describe(folder), .. GgufSampling.Write(folder.GenerationConfigJson)]);
    }

    /// <summary>Writes a model of any origin.</summary>
    /// <param name="config">The hyper-parameters.</param>
    /// <param name="open">Opens the weights, under the names of Hugging Face's checkpoints; called once a tensor, so that only one at a
    /// time has copies in memory.</param>
    /// <param name="tokenizer">The tokenizer; null for a file without, which takes and gives token ids alone.</param>
    /// <param name="name">What the model is called.</param>
    /// <param name="path">The file; one that is there is replaced when the new one is complete.</param>
    /// <param name="mix">The number formats.</param>
    /// <param name="importance">Mean square of the input of each column, by the weight's name in the checkpoint; null where all count the
    /// same.</param>
    /// <param name="progress">Hears what part of the tensors is written, from 0 to 1.</param>
    /// <exception cref="InvalidDataException">A tensor is missing or has another shape, or holds numbers that no format can.</exception>
    /// <exception cref="NotSupportedException">The model or its tokenizer has something that GGUF files have no word for.</exception>
    public static void Write(
        ModelConfig config, Func<IWeightStore> open, Tokenizer? tokenizer, string name, string path, QuantizationMix mix,
        Func<string, float[]?>? importance = null, IProgress<double>? progress = null) =>
        Write(config, open, tokenizer, name, path, mix, importance, progress, []);

    private static void Write(
        ModelConfig config, Func<IWeightStore> open, Tokenizer? tokenizer, string name, string path, QuantizationMix mix,
        Func<string, float[]?>? importance, IProgress<double>? progress, IEnumerable<KeyValuePair<string, object>> more)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(open);
        List<KeyValuePair<string, object>> metadata =
        [
            new("general.architecture", GgufNames.Architecture(config)),
            new("general.type", "model"),
            new("general.name", name),
            new("general.file_type", mix.FileType()),
            new("general.quantization_version", 2u),
            .. GgufConfig.Write(config, tokenizer?.EndId),
            .. tokenizer is null ? NoTokenizer(config) : GgufTokenizer.Write(tokenizer, config),
            .. more,
        ];
        List<NewGgufTensor> tensors = [];
        if (GgufConfig.RopeFactors(config) is float[] factors)
            tensors.Add(new NewGgufTensor(
                "rope_freqs.weight", NumberFormat.F32, [factors.Length], stream => stream.Write(MemoryMarshal.AsBytes<float>(factors))));
        foreach (GgufEntry entry in GgufNames.Of(config)) tensors.Add(Tensor(config, open, mix, importance, entry));

        int written = 0;
        Gguf.Write(path, metadata, tensors, progress is null ? null : new Each(() => progress.Report(++written / (double)tensors.Count)));
    }

    private static NewGgufTensor Tensor(
        ModelConfig config, Func<IWeightStore> open, QuantizationMix mix, Func<string, float[]?>? importance, GgufEntry entry)
    {
        float[]? weights = entry.IsVector ? null : importance?.Invoke(entry.Name);
        NumberFormat format = mix.FormatOf(config, entry, weights is not null);
        return new NewGgufTensor(entry.Gguf, format, entry.IsVector ? [entry.Columns] : [entry.Rows, entry.Columns], stream =>
        {
            using IWeightStore store = open();
            string name = config is Gpt2Config && !store.Contains(entry.Name) ? $"transformer.{entry.Name}" : entry.Name;
            // lm_head of GPT-2 has no prefix either way.
            if (!store.Contains(name)) name = entry.Name;
            if (!entry.IsVector)
            {
                Weight matrix = store.Matrix(name, entry.Rows, entry.Columns, entry.Transposed);
                Func<int, int>? order = entry.RotatedHeads == 0 ? null : entry.RowInCheckpoint;
                NewGgufTensor.Of(entry.Gguf, matrix, format, isVector: false, order, weights).WriteNumbers(stream);
                return;
            }
            float[] numbers = store.Vector(name, entry.Columns).ToFloats(), ordered = new float[numbers.Length];
            for (int i = 0; i < ordered.Length; i++) ordered[i] = numbers[entry.RowInCheckpoint(i)];
            stream.Write(MemoryMarshal.AsBytes<float>(ordered));
        });
    }

    private static IEnumerable<KeyValuePair<string, object>> NoTokenizer(ModelConfig config)
    {
        yield return new("tokenizer.ggml.model", "none");
        foreach ((string name, int? id) in ((string, int?)[])[
            ("bos", config.BosToken), ("eos", config.EosTokens.Count > 0 ? config.EosTokens[0] : null), ("padding", config.PadToken)])
            if (id >= 0 && id < config.Vocabulary) yield return new($"tokenizer.ggml.{name}_token_id", (uint)id.Value);
    }

    private sealed class Each(Action report) : IProgress<long>
    {
        public void Report(long value) => report();
    }
}
