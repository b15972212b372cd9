namespace Fude.Tensors;

/// <summary>Rotary position embedding of one model: which numbers of a head turn, and how fast.</summary>
/// <param name="HeadSize">Numbers in a head.</param>
/// <param name="Dimensions">How many of them turn, from the first on; even, at most HeadSize.</param>
/// <param name="Theta">Base of the frequencies: θ^(−2i/Dimensions).</param>
/// <param name="Scaling">How positions beyond the training context are met.</param>
public sealed record RopeShape(int HeadSize, int Dimensions, float Theta, RopeScaling? Scaling = null);

/// <summary>config.json's rope_scaling.</summary>
public abstract record RopeScaling
{
    /// <summary>Positions are divided by a factor (Chen et al., 2023, arXiv:2306.15595).</summary>
    public sealed record Linear(float Factor) : RopeScaling;

    /// <summary>θ grows with the text once it is longer than the training context ("dynamic NTK"), as transformers 4.41 does it.</summary>
    public sealed record Dynamic(float Factor, int Context) : RopeScaling;

    /// <summary>Llama 3.1: slow frequencies are divided by a factor, fast ones kept, those between blended.</summary>
    public sealed record Llama3(float Factor, float LowFrequencyFactor, float HighFrequencyFactor, int OriginalContext) : RopeScaling;
}
