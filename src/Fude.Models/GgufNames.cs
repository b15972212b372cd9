using System.Globalization;
using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

/// <summary>A tensor of a model under both its names.</summary>
/// <param name="Name">In Hugging Face's checkpoints, without GPT-2's "transformer.".</param>
/// <param name="Gguf">In GGUF files.</param>
/// <param name="Rows">Outputs; 1 for a vector.</param>
/// <param name="Columns">Inputs, or the length of a vector.</param>
/// <param name="IsVector">Whether files hold [columns].</param>
/// <param name="Transposed">Whether the checkpoint (not the GGUF file) holds [columns, rows].</param>
/// <param name="RotatedHeads">Heads whose rows GGUF files hold in another order, see <see cref="GgufNames"/>; 0 for none.</param>
internal readonly record struct GgufEntry(
    string Name, string Gguf, int Rows, int Columns, bool IsVector, bool Transposed, int RotatedHeads)
{
    /// <summary>Its block; −1 outside them.</summary>
    public int Layer => Gguf.StartsWith("blk.", StringComparison.Ordinal)
        ? int.Parse(Gguf.AsSpan(4, Gguf.IndexOf('.', 4) - 4), CultureInfo.InvariantCulture)
        : -1;

    /// <summary>Where the file has row <paramref name="row"/> of the checkpoint.</summary>
    public int RowInFile(int row)
    {
        if (RotatedHeads == 0) return row;
        int half = (IsVector ? Columns : Rows) / RotatedHeads / 2, within = row % (2 * half);
        return row - within + (within < half ? 2 * within : (2 * (within - half)) + 1);
    }

    /// <summary>Which row of the checkpoint is row <paramref name="row"/> of the file.</summary>
    public int RowInCheckpoint(int row)
    {
        if (RotatedHeads == 0) return row;
        int half = (IsVector ? Columns : Rows) / RotatedHeads / 2, within = row % (2 * half);
        return row - within + (within / 2) + (within % 2 == 0 ? 0 : half);
    }
}

/// <summary>What llama.cpp calls the tensors of each family, and how it lays them out.</summary>
/// <remarks>
/// Three things differ beside the names. GPT-2's Conv1D matrices are stored the other way round, so that GGUF files hold [out, in] for
/// every family. In the architecture "llama" the rows of a query or key head are interleaved, 0, n/2, 1, n/2 + 1, …, because llama.cpp
/// turns neighbours there where Hugging Face's checkpoints turn the two halves; whole rows move, so quantised blocks stay as they are.
/// A head that is the word embedding is left out, except in "stablelm", where llama.cpp asks for it.
/// </remarks>
internal static class GgufNames
{
    private const string Prefix = "transformer.";       // in some checkpoints of GPT-2

    /// <summary>A name as the entries have it, without the prefix that some checkpoints of GPT-2 put before it.</summary>
    public static string WithoutPrefix(string name) => name.StartsWith(Prefix, StringComparison.Ordinal) ? name[Prefix.Length..] : name;

    /// <summary>general.architecture of a family.</summary>
    public static string Architecture(ModelConfig config) => config switch
    {
        LlamaConfig or MistralConfig => "llama",
        StableLmConfig => "stablelm",
        Gpt2Config => "gpt2",
        _ => throw Unknown(config),
    };

    /// <summary>All tensors of a model, in the order of a forward pass.</summary>
    public static IReadOnlyList<GgufEntry> Of(ModelConfig config) => config switch
    {
        LlamaConfig llama => LlamaLike(
            config, llama.QueryWidth, llama.AttentionBias, llama.AttentionBias, llama.MlpBias, hasNormBias: false, rotates: true),
        MistralConfig => LlamaLike(config, config.QueryHeads * config.HeadSize, false, false, false, hasNormBias: false, rotates: true),
        StableLmConfig stableLm => LlamaLike(config, config.Width, stableLm.AttentionBias, false, false, hasNormBias: true, rotates: false),
        Gpt2Config => Gpt2(config),
        _ => throw Unknown(config),
    };

    private static NotSupportedException Unknown(ModelConfig config) => new(Say(
        $"{config.GetType().Name} has no architecture in GGUF files that fude knows.",
        $"{config.GetType().Name} に当たる GGUF のアーキテクチャーを fude は知りません。"));

    private static List<GgufEntry> LlamaLike(
        ModelConfig config, int queryWidth, bool attentionBias, bool outputBias, bool mlpBias, bool hasNormBias, bool rotates)
    {
        int width = config.Width, keyWidth = config.KeyValueWidth, hidden = config.Hidden;
        (int queryHeads, int keyHeads) = rotates ? (config.QueryHeads, config.KeyValueHeads) : (0, 0);
        List<GgufEntry> entries = [Matrix("model.embed_tokens.weight", "token_embd.weight", config.Vocabulary, width)];
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string name = Numbered($"model.layers.{layer}."), block = Numbered($"blk.{layer}.");
            entries.AddRange(
            [
                .. Norm($"{name}input_layernorm", $"{block}attn_norm", width, hasNormBias),
                .. Linear($"{name}self_attn.q_proj", $"{block}attn_q", queryWidth, width, attentionBias, queryHeads),
                .. Linear($"{name}self_attn.k_proj", $"{block}attn_k", keyWidth, width, attentionBias, keyHeads),
                .. Linear($"{name}self_attn.v_proj", $"{block}attn_v", keyWidth, width, attentionBias),
                .. Linear($"{name}self_attn.o_proj", $"{block}attn_output", width, queryWidth, outputBias),
                .. Norm($"{name}post_attention_layernorm", $"{block}ffn_norm", width, hasNormBias),
                .. Linear($"{name}mlp.gate_proj", $"{block}ffn_gate", hidden, width, mlpBias),
                .. Linear($"{name}mlp.up_proj", $"{block}ffn_up", hidden, width, mlpBias),
                .. Linear($"{name}mlp.down_proj", $"{block}ffn_down", width, hidden, mlpBias),
            ]);
        }
        entries.AddRange(Norm("model.norm", "output_norm", width, hasNormBias));
        if (!config.TiedHead) entries.Add(Matrix("lm_head.weight", "output.weight", config.Vocabulary, width));
        else if (config is StableLmConfig) entries.Add(Matrix("model.embed_tokens.weight", "output.weight", config.Vocabulary, width));
        return entries;
    }

    private static List<GgufEntry> Gpt2(ModelConfig config)
    {
        int width = config.Width, hidden = config.Hidden;
        List<GgufEntry> entries =
        [
            Matrix("wte.weight", "token_embd.weight", config.Vocabulary, width),
            Matrix("wpe.weight", "position_embd.weight", config.Context, width),
        ];
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string name = Numbered($"h.{layer}."), block = Numbered($"blk.{layer}.");
            entries.AddRange(
            [
                .. Norm($"{name}ln_1", $"{block}attn_norm", width, hasBias: true),
                .. Linear($"{name}attn.c_attn", $"{block}attn_qkv", 3 * width, width, bias: true, transposed: true),
                .. Linear($"{name}attn.c_proj", $"{block}attn_output", width, width, bias: true, transposed: true),
                .. Norm($"{name}ln_2", $"{block}ffn_norm", width, hasBias: true),
                .. Linear($"{name}mlp.c_fc", $"{block}ffn_up", hidden, width, bias: true, transposed: true),
                .. Linear($"{name}mlp.c_proj", $"{block}ffn_down", width, hidden, bias: true, transposed: true),
            ]);
        }
        entries.AddRange(Norm("ln_f", "output_norm", width, hasBias: true));
        if (!config.TiedHead) entries.Add(Matrix("lm_head.weight", "output.weight", config.Vocabulary, width));
        return entries;
    }

    private static GgufEntry[] Norm(string name, string gguf, int width, bool hasBias)
    {
        GgufEntry gain = new($"{name}.weight", $"{gguf}.weight", 1, width, true, false, 0);
        return hasBias ? [gain, gain with { Name = $"{name}.bias", Gguf = $"{gguf}.bias" }] : [gain];
    }

    private static GgufEntry[] Linear(
        string name, string gguf, int rows, int columns, bool bias, int rotatedHeads = 0, bool transposed = false)
    {
        GgufEntry weight = new($"{name}.weight", $"{gguf}.weight", rows, columns, false, transposed, rotatedHeads);
        return bias ? [weight, new($"{name}.bias", $"{gguf}.bias", 1, rows, true, false, rotatedHeads)] : [weight];
    }

    private static GgufEntry Matrix(string name, string gguf, int rows, int columns) => new(name, gguf, rows, columns, false, false, 0);

    private static string Numbered(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
