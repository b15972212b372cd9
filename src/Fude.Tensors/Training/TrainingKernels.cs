namespace Fude.Tensors;

/// <summary>The backward kernels of one instruction set, as <see cref="CpuKernels"/> has those of the forward pass.</summary>
internal sealed unsafe class TrainingKernels
{
    private TrainingKernels()
    {
    }

    public required delegate*<void*, int, int, void> Product { get; init; }

    public required delegate*<void*, int, int, void> Norm { get; init; }

    public required delegate*<void*, int, int, void> SumRows { get; init; }

    public required delegate*<void*, int, int, void> Attend { get; init; }

    public required delegate*<void*, int, int, void> AttendBackward { get; init; }

    public required delegate*<void*, int, int, void> SwiGlu { get; init; }

    public required delegate*<void*, int, int, void> GeluErf { get; init; }

    public required delegate*<void*, int, int, void> GeluTanh { get; init; }

    public required delegate*<void*, int, int, void> Scale { get; init; }

    public required delegate*<void*, int, int, void> AddRows { get; init; }

    public required delegate*<void*, int, int, void> CrossEntropy { get; init; }

    /// <summary>The kernels of an instruction set by its name.</summary>
    public static TrainingKernels Of(string instructionSet) => instructionSet switch
    {
        InstructionSets.Scalar => Of<LanesScalar>(),
        InstructionSets.Vector128Name => Of<Lanes128>(),
        InstructionSets.Avx2Name => Of<Lanes256>(),
        _ => Of<Lanes512>(),
    };

    private static TrainingKernels Of<T>()
        where T : unmanaged, ILanes<T> => new()
        {
            Product = &MatrixProduct.Run<T>,
            Norm = &NormBackward.Run<T>,
            SumRows = &NormBackward.SumRows<T>,
            Attend = &TrainingAttention.Forward<T>,
            AttendBackward = &TrainingAttention.Backward<T>,
            SwiGlu = &ElementBackward.SwiGlu<T>,
            GeluErf = &ElementBackward.GeluErf<T>,
            GeluTanh = &ElementBackward.GeluTanh<T>,
            Scale = &ElementBackward.Scale<T>,
            AddRows = &ElementBackward.AddRows<T>,
            CrossEntropy = &CrossEntropyKernel.Run<T>,
        };
}
