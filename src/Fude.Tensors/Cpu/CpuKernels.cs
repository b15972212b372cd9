namespace Fude.Tensors;

/// <summary>The kernels of one instruction set: pointers to the same generic methods over other lanes.</summary>
internal sealed unsafe class CpuKernels
{
    /// <summary>Every path with its name, the reference first. Tests run each supported one against it.</summary>
    internal static readonly (string Name, bool IsSupported, Func<CpuKernels> Make)[] Paths =
    [
        Path(InstructionSets.Scalar, Of<LanesScalar>),
        Path(InstructionSets.Vector128Name, Of<Lanes128>),
        Path(InstructionSets.Avx2Name, Of<Lanes256>),
        Path(InstructionSets.Avx512Name, Of<Lanes512>),
    ];

    private CpuKernels()
    {
    }

    /// <summary>By <see cref="NumberFormat"/>.</summary>
    public required delegate*<void*, int, int, void>[] MatMul { get; init; }

    /// <summary>By <see cref="NumberFormat"/>.</summary>
    public required delegate*<void*, int, int, void>[] Embed { get; init; }

    public required delegate*<void*, int, int, void> RmsNorm { get; init; }

    public required delegate*<void*, int, int, void> LayerNorm { get; init; }

    public required delegate*<void*, int, int, void> Rope { get; init; }

    public required delegate*<void*, int, int, void> Attention { get; init; }

    public required delegate*<void*, int, int, void> SwiGlu { get; init; }

    public required delegate*<void*, int, int, void> GeluErf { get; init; }

    public required delegate*<void*, int, int, void> GeluTanh { get; init; }

    public required delegate*<void*, int, int, void> Add { get; init; }

    /// <summary>The kernels of a path by its name.</summary>
    public static CpuKernels Of(string path)
    {
        foreach ((string name, bool isSupported, Func<CpuKernels> make) in Paths)
            if (name == path && isSupported) return make();
        throw new NotSupportedException($"No kernels for {path}. Possible here: {string.Join(", ", InstructionSets.Supported)}.");
    }

    private static (string Name, bool IsSupported, Func<CpuKernels> Make) Path(string name, Func<CpuKernels> make) =>
        (name, InstructionSets.Supported.Contains(name), make);

    private static CpuKernels Of<T>()
        where T : unmanaged, ILanes<T> => new()
        {
            MatMul = [&MatMulKernel.Run<T, StoredFloat32>, &MatMulKernel.Run<T, StoredFloat16>, &MatMulKernel.Run<T, StoredBFloat16>],
            Embed = [&EmbedKernel.Run<T, StoredFloat32>, &EmbedKernel.Run<T, StoredFloat16>, &EmbedKernel.Run<T, StoredBFloat16>],
            RmsNorm = &NormKernels.RmsNorm<T>,
            LayerNorm = &NormKernels.LayerNorm<T>,
            Rope = &RopeKernel.Run<T>,
            Attention = &AttentionKernel.Run<T>,
            SwiGlu = &ElementKernels.SwiGlu<T>,
            GeluErf = &ElementKernels.GeluErf<T>,
            GeluTanh = &ElementKernels.GeluTanh<T>,
            Add = &ElementKernels.Add<T>,
        };
}
