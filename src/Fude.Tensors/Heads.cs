namespace Fude.Tensors;

/// <summary>How the columns of queries, keys and values divide into attention heads.</summary>
/// <param name="Query">Query heads.</param>
/// <param name="KeyValue">Key and value heads; query head h reads head h / (Query / KeyValue) (Ainslie et al., 2023, arXiv:2305.13245).</param>
/// <param name="Size">Numbers in a head.</param>
/// <param name="Scale">What q·k is multiplied by: 1/√Size in every family here.</param>
/// <param name="Window">Keys a token attends to at most, its own included; 0 for all (Mistral's sliding window,
/// Jiang et al., 2023, arXiv:2310.06825; transformers 4.38 to 4.44 have it see one more).</param>
public readonly record struct Heads(int Query, int KeyValue, int Size, float Scale, int Window = 0);
