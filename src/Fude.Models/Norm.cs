using Fude.Tensors;

namespace Fude.Models;

/// <summary>A LayerNorm's gain, bias and ε.</summary>
internal sealed record Norm(Weight Gain, Weight Bias, float Epsilon);

internal static class NormExtensions
{
    public static Tensor LayerNorm(this IOps ops, Tensor x, Norm norm) => ops.LayerNorm(x, norm.Gain, norm.Bias, norm.Epsilon);

    public static Norm Norm(this WeightSource weights, string name, int width, float epsilon) =>
        new(weights.Vector($"{name}.weight", width), weights.Vector($"{name}.bias", width), epsilon);
}
