using Fude.Tensors;
using static Fude.Tensors.Wording;

namespace Fude.Models;

#pragma warning disable CA1707 // The names are those that people type and that files are called by: Q4_K_M.

/// <summary>How the matrices of a model are stored in a file: one number format for most, more bits for those that need them.</summary>
public enum QuantizationMix
{
    /// <summary>float32 throughout.</summary>
    F32,

    /// <summary>Half precision.</summary>
    F16,

    /// <summary>The upper half of float32.</summary>
    BF16,

    /// <summary>8 bits.</summary>
    Q8_0,

    /// <summary>4 bits in blocks of 32; 6 for the head.</summary>
    Q4_0,

    /// <summary>4 bits with a minimum; 6 for the head.</summary>
    Q4_1,

    /// <summary>5 bits in blocks of 32; 6 for the head.</summary>
    Q5_0,

    /// <summary>5 bits with a minimum; 6 for the head.</summary>
    Q5_1,

    /// <summary>4 bits in super-blocks; 6 for the head and half of the values and down projections.</summary>
    Q4_K_M,

    /// <summary>5 bits in super-blocks; 6 for the head and half of the values and down projections.</summary>
    Q5_K_M,

    /// <summary>6 bits in super-blocks.</summary>
    Q6_K,
}

/// <summary>Which tensor gets which format: llama.cpp's choices, so that files of one name are of one quality.</summary>
/// <remarks>
/// | tensor | format |
/// | --- | --- |
/// | vectors, position_embd | F32 |
/// | output, or token_embd where the head is tied | Q6_K, except Q8_0 in the mix Q8_0 and where rows are not whole blocks |
/// | attn_v, ffn_down in Q4_K_M and Q5_K_M | Q6_K in the first and last eighth of the blocks and in every third between |
/// | attn_v in Q4_K_M of 80 blocks with 8 query heads to a key head | Q5_K in the others |
/// | attn_qkv in Q4_K_M, Q5_K_M | Q5_K, Q6_K |
/// | ffn_down in Q4_0, Q5_0, with importances | Q4_1, Q5_1 in the first eighth of the blocks |
/// | everything else | the mix's own |
/// | rows that are not whole super-blocks | Q4_K → Q5_0, Q5_K → Q5_1, Q6_K → Q8_0; F16 where 32 does not divide them either |
/// </remarks>
public static class QuantizationMixes
{
    /// <summary>The mix of that name, in small or capital letters: q4_k_m.</summary>
    /// <exception cref="ArgumentException">There is none; the message lists them.</exception>
    public static QuantizationMix Parse(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        foreach (QuantizationMix mix in Enum.GetValues<QuantizationMix>())
            if (string.Equals(mix.ToString(), name, StringComparison.OrdinalIgnoreCase)) return mix;
        string[] names = [.. Enum.GetNames<QuantizationMix>().Select(known => known.ToLowerInvariant())];
        throw new ArgumentException(Say(
            $"'{name}' is no format for files: it is one of {string.Join(", ", names)}.",
            $"'{name}' というファイルの形式はありません。{string.Join("、", names)} のどれかです。"), nameof(name));
    }

    /// <summary>general.file_type of a GGUF file.</summary>
    internal static uint FileType(this QuantizationMix mix) => mix switch
    {
        QuantizationMix.F32 => 0,
        QuantizationMix.F16 => 1,
        QuantizationMix.Q4_0 => 2,
        QuantizationMix.Q4_1 => 3,
        QuantizationMix.Q8_0 => 7,
        QuantizationMix.Q5_0 => 8,
        QuantizationMix.Q5_1 => 9,
        QuantizationMix.Q4_K_M => 15,
        QuantizationMix.Q5_K_M => 17,
        QuantizationMix.Q6_K => 18,
        QuantizationMix.BF16 => 32,
        _ => throw new ArgumentOutOfRangeException(nameof(mix), mix, "Not a mix of fude."),
    };

    /// <summary>The format of one tensor.</summary>
    /// <param name="mix">The mix.</param>
    /// <param name="config">The model.</param>
    /// <param name="entry">The tensor.</param>
    /// <param name="hasImportance">Whether importances are known for it.</param>
    internal static NumberFormat FormatOf(this QuantizationMix mix, ModelConfig config, GgufEntry entry, bool hasImportance)
    {
        int layer = entry.Layer;
        if (entry.IsVector || entry.Gguf == "position_embd.weight") return NumberFormat.F32;
        NumberFormat own = mix switch
        {
            QuantizationMix.Q4_K_M => NumberFormat.Q4_K,
            QuantizationMix.Q5_K_M => NumberFormat.Q5_K,
            _ => Enum.Parse<NumberFormat>(mix.ToString()),
        };
        if (!own.IsQuantized()) return own;
        string kind = layer < 0 ? entry.Gguf : entry.Gguf.Split('.', 3)[2];        // blk.7.attn_v.weight
        bool isMiddle = mix is QuantizationMix.Q4_K_M or QuantizationMix.Q5_K_M, needsMore = NeedsMoreBits(layer, config.Layers);
        NumberFormat format = own;
        if (entry.Gguf == "output.weight" || (entry.Gguf == "token_embd.weight" && config.TiedHead && config is not StableLmConfig))
        {
            format = entry.Columns % own.BlockLength() != 0 || own == NumberFormat.Q8_0 ? NumberFormat.Q8_0 : NumberFormat.Q6_K;
        }
        else if (kind == "attn_v.weight")
        {
            if (isMiddle && needsMore) format = NumberFormat.Q6_K;
            else if (own == NumberFormat.Q4_K && config.Layers == 80 && config.QueryHeads == 8 * config.KeyValueHeads)
                format = NumberFormat.Q5_K;
        }
        else if (kind == "attn_qkv.weight")
        {
            if (mix == QuantizationMix.Q4_K_M) format = NumberFormat.Q5_K;
            else if (mix == QuantizationMix.Q5_K_M) format = NumberFormat.Q6_K;
        }
        else if (kind == "ffn_down.weight")
        {
            if (isMiddle && needsMore) format = NumberFormat.Q6_K;
            else if (hasImportance && layer < config.Layers / 8)
                format = own switch { NumberFormat.Q4_0 => NumberFormat.Q4_1, NumberFormat.Q5_0 => NumberFormat.Q5_1, _ => own };
        }
        return ThatFits(format, entry.Columns);
    }

    private static bool NeedsMoreBits(int layer, int layers) =>
        layer < layers / 8 || layer >= 7 * layers / 8 || (layer - (layers / 8)) % 3 == 2;

    private static NumberFormat ThatFits(NumberFormat format, int columns)
    {
        if (columns % format.BlockLength() == 0) return format;
        NumberFormat smaller = format switch
        {
            NumberFormat.Q4_K => NumberFormat.Q5_0,
            NumberFormat.Q5_K => NumberFormat.Q5_1,
            NumberFormat.Q6_K => NumberFormat.Q8_0,
            _ => NumberFormat.F16,
        };
        return columns % smaller.BlockLength() == 0 ? smaller : NumberFormat.F16;
    }
}
