namespace Fude.Tensors.Tests;

/// <summary>Rows of the kinds that weights are, and of some that they are not.</summary>
internal static class RandomNumbers
{
    public static readonly string[] Kinds = ["normal", "laplace", "uniform", "outliers", "positive", "sparse", "whole", "tiny", "large"];

    public static float[] Of(string kind, int count, int seed)
    {
        Random random = new(seed);
        float[] numbers = new float[count];
        for (int i = 0; i < count; i++)
        {
            numbers[i] = kind switch
            {
                "normal" => 0.02f * Normal(random),
                "laplace" => 0.02f * Normal(random) * MathF.Sqrt(-2 * MathF.Log(1 - random.NextSingle())),
                "uniform" => random.NextSingle() - 0.5f,
                "outliers" => (random.Next(50) == 0 ? 0.5f : 0.02f) * Normal(random),
                "positive" => 0.1f + (0.01f * Normal(random)),
                "sparse" => random.Next(20) == 0 ? Normal(random) : 0,
                "whole" => random.Next(-3, 4),
                "tiny" => 1e-5f * Normal(random),
                "large" => 5000 * Normal(random),
                _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "No such kind."),
            };
        }
        return numbers;
    }

    // Box and Muller.
    private static float Normal(Random random) =>
        MathF.Sqrt(-2 * MathF.Log(1 - random.NextSingle())) * MathF.Cos(2 * MathF.PI * random.NextSingle());
}
