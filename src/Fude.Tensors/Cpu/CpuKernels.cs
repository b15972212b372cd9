using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>The kernels of one instruction set: pointers to the same generic methods over other lanes.</summary>
internal sealed unsafe class CpuKernels
{
    /// <summary>A path's name, and how its kernels are made.</summary>
    internal readonly record struct Path(string Name, Func<CpuKernels> Make)
    {
        // Found when asked for: AMX takes a permission from the system.
        public bool IsSupported => InstructionSets.IsSupported(Name);
    }

    /// <summary>Every path, the reference first. Tests run each supported one against it.</summary>
    internal static readonly Path[] Paths =
    [
        new(InstructionSets.Scalar, () => Of<LanesScalar, LanesScalar>()),
        new(InstructionSets.Vector128Name, () => Of<Lanes128, Lanes128>()),
        new(InstructionSets.Avx2Name, () => Of<Lanes256, Lanes256>()),
        new(InstructionSets.Avx512Name, () => Of<Lanes512, Lanes256>(static () => VnniTile.IsSupported ? TileCode.Vnni : TileCode.Managed)),
        new(InstructionSets.AmxName, () => Of<Lanes512, Lanes256>(static () => TileCode.Amx)),
    ];

    private readonly Func<TileCode> _tileCode;

    private CpuKernels(Func<TileCode> tileCode) => _tileCode = tileCode;

    /// <summary>By <see cref="NumberFormat"/>.</summary>
    public required delegate*<void*, int, int, void>[] MatMul { get; init; }

    /// <summary>By <see cref="NumberFormat"/>.</summary>
    public required delegate*<void*, int, int, void>[] Embed { get; init; }

    public required delegate*<void*, int, int, void> QuantizeRows { get; init; }

    /// <summary>By <see cref="NumberFormat"/>; null where the format has no layout in groups.</summary>
    public required delegate*<void*, int, int, void>[] GroupProduct { get; init; }

    /// <summary>What GroupProduct computes tiles with.</summary>
    /// <remarks>Found out when the first quantised product comes: a program that has none starts without an assembler.</remarks>
    public TileCode TileCode => _tileCode();

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
        foreach (Path known in Paths)
            if (known.Name == path && known.IsSupported) return known.Make();
        throw new NotSupportedException(Say(
            $"No kernels for {path}. Possible here: {string.Join(", ", InstructionSets.Supported)}.",
            $"{path} 用のカーネルはありません。ここで使えるもの: {string.Join("、", InstructionSets.Supported)}。"));
    }

    private static CpuKernels Of<T, TBlocks>(Func<TileCode>? tileCode = null)
        where T : unmanaged, ILanes<T>
        where TBlocks : unmanaged, IBlockLanes<TBlocks> => new(tileCode ?? (static () => TileCode.Managed))
        {
            QuantizeRows = &QuantizedRows.Run<TBlocks>,
            GroupProduct = GroupProducts<TBlocks>(),
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

    private static delegate*<void*, int, int, void>[] GroupProducts<T>()
        where T : unmanaged, IBlockLanes<T>
    {
        delegate*<void*, int, int, void>[] products = new delegate*<void*, int, int, void>[Enum.GetValues<NumberFormat>().Length];
        products[(int)NumberFormat.Q8_0] = &Fude.Tensors.GroupProduct.Run<T, GroupQ8Zero>;
        products[(int)NumberFormat.Q4_0] = &Fude.Tensors.GroupProduct.Run<T, GroupQ4Zero>;
        products[(int)NumberFormat.Q4_1] = &Fude.Tensors.GroupProduct.Run<T, GroupQ4One>;
        products[(int)NumberFormat.Q5_0] = &Fude.Tensors.GroupProduct.Run<T, GroupQ5Zero>;
        products[(int)NumberFormat.Q5_1] = &Fude.Tensors.GroupProduct.Run<T, GroupQ5One>;
        products[(int)NumberFormat.Q4_K] = &Fude.Tensors.GroupProduct.Run<T, GroupQ4K>;
        products[(int)NumberFormat.Q5_K] = &Fude.Tensors.GroupProduct.Run<T, GroupQ5K>;
        products[(int)NumberFormat.Q6_K] = &Fude.Tensors.GroupProduct.Run<T, GroupQ6K>;
        return products;
    }
}
