using System.Text.Encodings.Web;
using System.Text.Json;
using Fude.Models;
using static Fude.Tokenizers.Wording;

namespace Fude.Training;

/// <summary>A low-rank adapter that is to be trained.</summary>
/// <param name="Rank">r.</param>
/// <param name="Alpha">α: what the adapter adds is multiplied by α/r.</param>
/// <param name="Dropout">The share of its inputs that is dropped while training.</param>
/// <param name="Targets">Names of the linear layers that are adapted, as "q_proj"; null for all those of the blocks.</param>
/// <param name="RankStabilised">α/√r instead of α/r.</param>
public sealed record LoraSettings(int Rank = 16, double Alpha = 32, double Dropout = 0, IReadOnlyList<string>? Targets = null, bool RankStabilised = false)
{
    /// <summary>The greatest <see cref="Alpha"/>: far beyond what any adapter has, and far below where float32 ends.</summary>
    public const double MostAlpha = 1e6;

    /// <summary>The text of PEFT's adapter_config.json.</summary>
    /// <param name="config">The model.</param>
    /// <param name="baseModel">Where it lies, for whoever finds the adapter.</param>
    public byte[] ToAdapterConfig(ModelConfig config, string baseModel)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (Rank < 1 || !(Alpha is > 0 and <= MostAlpha) || !(Dropout is >= 0 and < 1))
            throw new ArgumentException(Say(
                $"An adapter of rank {Rank}, alpha {Alpha} and dropout {Dropout}: rank and alpha are above 0, alpha is at most {MostAlpha}, dropout is from 0 to below 1.",
                $"アダプターのランクが {Rank}、alpha が {Alpha}、ドロップアウトが {Dropout} です。ランクと alpha は 0 より大きく、alpha は {MostAlpha} 以下、ドロップアウトは 0 以上 1 未満にしてください。"));
        using MemoryStream text = new();
        using (Utf8JsonWriter json = new(text, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("peft_type", "LORA");
            json.WriteString("task_type", "CAUSAL_LM");
            json.WriteString("base_model_name_or_path", baseModel);
            json.WriteBoolean("inference_mode", true);
            json.WriteNumber("r", Rank);
            json.WriteNumber("lora_alpha", Alpha);
            json.WriteNumber("lora_dropout", Dropout);
            json.WriteBoolean("use_rslora", RankStabilised);
            json.WriteString("bias", "none");
            json.WriteBoolean("fan_in_fan_out", config is Gpt2Config);      // Conv1D
            json.WriteStartArray("target_modules");
            foreach (string target in Targets ?? DefaultTargets(config)) json.WriteStringValue(target);
            json.WriteEndArray();
            json.WriteNull("modules_to_save");
            json.WriteEndObject();
        }
        return text.ToArray();
    }

    private static IReadOnlyList<string> DefaultTargets(ModelConfig config) => config is Gpt2Config
        ? ["c_attn", "c_proj", "c_fc"]
        : ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
}
