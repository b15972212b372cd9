using System.Runtime.InteropServices;
using Iced.Intel;

namespace Fude.Tensors.Tests;

/// <summary>Runs the bytes of a routine, instruction by instruction, as the manuals say: general, zmm and tile registers, and memory that
/// was allowed.</summary>
/// <remarks>Intel's Software Developer's Manual, volume 2, and for the tiles the Architecture Instruction Set Extensions Programming
/// Reference, chapter 3. It knows the instructions that fude's routines for tiles are made of, and refuses all others. Where a processor
/// would raise an exception, and where memory is touched that was not allowed, it throws.</remarks>
internal sealed unsafe class InstructionInterpreter
{
    private const int VectorBytes = 64, TileRows = 16, TileCount = 8, TileBytes = TileRows * VectorBytes, StackBytes = 1024;

    private readonly List<(ulong First, ulong End, bool MayWrite)> _memory = [];
    private readonly ulong[] _general = new ulong[16];
    private readonly byte[] _vectors = new byte[32 * VectorBytes];
    private readonly byte[] _tiles = new byte[TileCount * TileBytes];
    private readonly (int Rows, int RowBytes)[] _shapes = new (int, int)[TileCount];
    private bool? _isZero;

    /// <summary>Whether the tile registers are configured; that lasts from routine to routine.</summary>
    public bool HasTiles { get; private set; }

    /// <summary>How often each instruction was run.</summary>
    public Dictionary<Mnemonic, int> Counts { get; } = [];

    /// <summary>Allows memory to be read, or read and written.</summary>
    public void Allow(void* first, long bytes, bool mayWrite = false) =>
        _memory.Add(((ulong)first, (ulong)first + (ulong)bytes, mayWrite));

    /// <summary>A tile register's row.</summary>
    public Span<byte> TileRow(int tile, int row) => _tiles.AsSpan((tile * TileBytes) + (row * VectorBytes), VectorBytes);

    /// <summary>Calls a routine and checks that it returns to its caller what is its caller's.</summary>
    public void Run(byte[] code, params ReadOnlySpan<nint> arguments)
    {
        Dictionary<ulong, Instruction> instructions = [];
        Decoder decoder = Decoder.Create(64, new ByteArrayCodeReader(code));
        while (decoder.IP < (ulong)code.Length)
        {
            Instruction decoded = decoder.Decode();
            instructions.Add(decoded.IP, decoded);
        }
        byte* stack = stackalloc byte[StackBytes];
        Allow(stack, StackBytes, mayWrite: true);
        for (int i = 0; i < _general.Length; i++) _general[i] = 0xC0DE_0000_0000_0000 + (ulong)i;
        new Random(5).NextBytes(_vectors);      // whatever the caller left there
        _general[Register.RSP.GetNumber()] = (ulong)stack + StackBytes;
        for (int i = 0; i < arguments.Length; i++) _general[((Register)MachineCode.Arguments[i]).GetNumber()] = (ulong)arguments[i];
        _isZero = null;
        (ulong[] generalBefore, byte[] vectorsBefore) = ([.. _general], [.. _vectors]);

        ulong at = 0;
        while (true)
        {
            if (!instructions.TryGetValue(at, out Instruction instruction) || instruction.IsInvalid)
                throw new InvalidOperationException($"There is no instruction at {at:x}.");
            Counts[instruction.Mnemonic] = Counts.GetValueOrDefault(instruction.Mnemonic) + 1;
            if (instruction.Mnemonic == Mnemonic.Ret) break;
            at = instruction.NextIP;
            if (instruction.Mnemonic is Mnemonic.Je or Mnemonic.Jne)
            {
                bool isZero = _isZero ?? throw Fault(instruction, "the zero flag has no known value");
                if (isZero == (instruction.Mnemonic == Mnemonic.Je)) at = instruction.NearBranchTarget;
                continue;
            }
            Execute(instruction);
        }
        _memory.RemoveAt(_memory.Count - 1);
        Register[] kept = [Register.RBX, Register.RSP, Register.RBP, Register.R12, Register.R13, Register.R14, Register.R15];
        if (OperatingSystem.IsWindows())
        {
            kept = [.. kept, Register.RSI, Register.RDI];
            for (int i = 6; i < 16; i++)
                if (!Vector(i)[..16].SequenceEqual(vectorsBefore.AsSpan(i * VectorBytes, 16)))
                    throw new InvalidOperationException($"xmm{i} is the caller's.");
        }
        foreach (Register register in kept)
            if (_general[register.GetNumber()] != generalBefore[register.GetNumber()])
                throw new InvalidOperationException($"{register} is the caller's.");
    }

    private static InvalidOperationException Fault(in Instruction instruction, string what) =>
        new($"{instruction} at {instruction.IP:x}: {what}");

    private void Execute(in Instruction instruction)
    {
        if (instruction.HasOpMask || instruction.ZeroingMasking || instruction.RoundingControl != RoundingControl.None
            || instruction.SuppressAllExceptions || instruction.HasLockPrefix || instruction.HasRepPrefix || instruction.HasRepnePrefix
            || instruction.SegmentPrefix != Register.None)
            throw Fault(instruction, "not known with its prefixes");
        switch (instruction.Code)
        {
            case Code.Mov_r32_imm32:
                General(instruction.Op0Register) = instruction.Immediate32;
                break;
            case Code.Lea_r64_m:
                General(instruction.Op0Register) = Address(instruction);
                break;
            case Code.Add_rm64_imm8 or Code.Add_rm64_imm32 when instruction.Op0Kind == OpKind.Register:
                SetZero(General(instruction.Op0Register) += instruction.GetImmediate(1));
                break;
            case Code.Sub_rm64_imm8 or Code.Sub_rm64_imm32 when instruction.Op0Kind == OpKind.Register:
                SetZero(General(instruction.Op0Register) -= instruction.GetImmediate(1));
                break;
            case Code.Dec_rm64 when instruction.Op0Kind == OpKind.Register:
                SetZero(--General(instruction.Op0Register));
                break;
            case Code.Xchg_rm64_r64 when instruction.Op0Kind == OpKind.Register:
                (General(instruction.Op0Register), General(instruction.Op1Register)) =
                    (General(instruction.Op1Register), General(instruction.Op0Register));
                break;
            case Code.Movups_xmm_xmmm128 when instruction.Op1Kind == OpKind.Memory:
                new ReadOnlySpan<byte>(Reach(instruction, Address(instruction), 16, writes: false), 16).CopyTo(Vector(instruction.Op0Register.GetNumber()));
                break;
            case Code.Movups_xmmm128_xmm when instruction.Op0Kind == OpKind.Memory:
                Vector(instruction.Op1Register.GetNumber())[..16].CopyTo(new Span<byte>(Reach(instruction, Address(instruction), 16, writes: true), 16));
                break;
            case Code.VEX_Vzeroupper:
                for (int i = 0; i < 16; i++) Vector(i)[16..].Clear();
                break;
            case Code.EVEX_Vmovups_zmmm512_k1z_zmm when instruction.Op0Kind == OpKind.Memory:
                Vector(instruction.Op1Register.GetNumber()).CopyTo(
                    new Span<byte>(Reach(instruction, Address(instruction), VectorBytes, writes: true), VectorBytes));
                break;
            case Code.VEX_Ldtilecfg_m512:
                Configure(instruction);
                break;
            case Code.VEX_Tilerelease:
                HasTiles = false;
                Array.Clear(_shapes);
                Array.Clear(_tiles);
                break;
            case Code.VEX_Tilezero_tmm:
                _ = Tile(instruction, instruction.Op0Register);
                _tiles.AsSpan(instruction.Op0Register.GetNumber() * TileBytes, TileBytes).Clear();
                break;
            case Code.VEX_Tileloadd_tmm_sibmem:
                LoadTile(instruction);
                break;
            case Code.VEX_Tilestored_sibmem_tmm:
                StoreTile(instruction);
                break;
            case Code.VEX_Tdpbssd_tmm_tmm_tmm:
                MultiplyTiles(instruction, AddBytes);
                break;
            case Code.VEX_Tdpbf16ps_tmm_tmm_tmm:
                MultiplyTiles(instruction, AddPairs);
                break;
            default:
                ExecuteOnVectors(instruction);
                break;
        }
    }

    // All of 64 bytes; the first operand is a register and receives the result.
    private void ExecuteOnVectors(in Instruction instruction)
    {
        Span<byte> left = stackalloc byte[VectorBytes], right = stackalloc byte[VectorBytes];
        if (instruction.Op0Kind != OpKind.Register || !instruction.Op0Register.IsZMM()) throw Fault(instruction, "not known");
        Span<byte> result = Vector(instruction.Op0Register.GetNumber());
        if (instruction.OpCount == 2)
        {
            Read(instruction, 1, left);
        }
        else if (instruction.OpCount == 3)
        {
            Read(instruction, 1, left);
            Read(instruction, 2, right);
        }
        Span<float> floats = MemoryMarshal.Cast<byte, float>(result), leftFloats = MemoryMarshal.Cast<byte, float>(left);
        Span<float> rightFloats = MemoryMarshal.Cast<byte, float>(right);
        Span<int> ints = MemoryMarshal.Cast<byte, int>(result), leftInts = MemoryMarshal.Cast<byte, int>(left);
        Span<int> rightInts = MemoryMarshal.Cast<byte, int>(right);
        switch (instruction.Code)
        {
            case Code.EVEX_Vmovups_zmm_k1z_zmmm512 or Code.EVEX_Vmovdqu32_zmm_k1z_zmmm512 or Code.EVEX_Vmovdqa32_zmm_k1z_zmmm512:
                if (instruction.Code == Code.EVEX_Vmovdqa32_zmm_k1z_zmmm512 && instruction.Op1Kind == OpKind.Memory)
                    throw Fault(instruction, "alignment is not looked at");
                left.CopyTo(result);
                break;
            case Code.EVEX_Vpbroadcastd_zmm_k1z_xmmm32 or Code.EVEX_Vbroadcastss_zmm_k1z_xmmm32:
                ints.Fill(leftInts[0]);
                break;
            case Code.EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32:
                for (int i = 0; i < 16; i++) ints[i] = unchecked(leftInts[i] - rightInts[i]);
                break;
            case Code.EVEX_Vpdpbusd_zmm_k1z_zmm_zmmm512b32:
                for (int i = 0; i < VectorBytes; i++) ints[i / 4] = unchecked(ints[i / 4] + (left[i] * (sbyte)right[i]));
                break;
            case Code.EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er:
                for (int i = 0; i < 16; i++) floats[i] = leftInts[i];
                break;
            case Code.EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er:
                for (int i = 0; i < 16; i++) floats[i] = leftFloats[i] * rightFloats[i];
                break;
            case Code.EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er:
                for (int i = 0; i < 16; i++) floats[i] = MathF.FusedMultiplyAdd(leftFloats[i], rightFloats[i], floats[i]);
                break;
            default:
                throw Fault(instruction, "not known");
        }
    }

    private void SetZero(ulong value) => _isZero = value == 0;

    private ref ulong General(Register register) => ref _general[register.GetFullRegister().GetNumber()];

    private Span<byte> Vector(int number) => _vectors.AsSpan(number * VectorBytes, VectorBytes);

    private void Read(in Instruction instruction, int operand, Span<byte> value)
    {
        if (instruction.GetOpKind(operand) == OpKind.Register)
        {
            if (!instruction.GetOpRegister(operand).IsZMM()) throw Fault(instruction, "not known with registers of that size");
            Vector(instruction.GetOpRegister(operand).GetNumber()).CopyTo(value);
            return;
        }
        bool isOne = instruction.IsBroadcast || instruction.MemorySize is MemorySize.Float32 or MemorySize.UInt32 or MemorySize.Int32;
        byte* memory = Reach(instruction, Address(instruction), isOne ? 4 : VectorBytes, writes: false);
        if (isOne) MemoryMarshal.Cast<byte, int>(value).Fill(*(int*)memory);
        else new ReadOnlySpan<byte>(memory, VectorBytes).CopyTo(value);
    }

    private ulong Address(in Instruction instruction)
    {
        ulong index = instruction.MemoryIndex == Register.None ? 0 : General(instruction.MemoryIndex) * (ulong)instruction.MemoryIndexScale;
        return BaseAddress(instruction) + index;
    }

    private ulong BaseAddress(in Instruction instruction) =>
        instruction.MemoryBase.IsGPR64()
            ? General(instruction.MemoryBase) + instruction.MemoryDisplacement64
            : throw Fault(instruction, "an address begins with a register of 64 bits");

    private byte* Reach(in Instruction instruction, ulong address, int bytes, bool writes)
    {
        foreach ((ulong first, ulong end, bool mayWrite) in _memory)
            if (address >= first && address + (ulong)bytes <= end && (mayWrite || !writes)) return (byte*)address;
        throw Fault(instruction, $"{bytes} bytes at {address:x} may not be {(writes ? "written" : "read")}");
    }

    private void Configure(in Instruction instruction)
    {
        ReadOnlySpan<byte> configuration = new(Reach(instruction, Address(instruction), 64, writes: false), 64);
        if (configuration[0] > 1) throw Fault(instruction, "#GP: there is no such palette");
        HasTiles = false;
        Array.Clear(_shapes);
        Array.Clear(_tiles);
        if (configuration[0] == 0) return;
        if (configuration[1] != 0) throw Fault(instruction, "does not begin with row 0");
        if (configuration[2..16].ContainsAnyExcept((byte)0) || configuration[32..48].ContainsAnyExcept((byte)0)
            || configuration[56..].ContainsAnyExcept((byte)0))
            throw Fault(instruction, "#GP: a reserved byte is not 0");
        for (int i = 0; i < TileCount; i++)
        {
            (int rows, int bytes) = (configuration[48 + i], configuration[16 + (2 * i)] + (256 * configuration[17 + (2 * i)]));
            if (rows > TileRows || bytes > VectorBytes || (rows == 0) != (bytes == 0)) throw Fault(instruction, $"#GP: tile {i} is [{rows}, {bytes}]");
            _shapes[i] = (rows, bytes);
        }
        HasTiles = true;
    }

    private (int Rows, int RowBytes) Tile(in Instruction instruction, Register register)
    {
        if (!HasTiles) throw Fault(instruction, "#UD: the tiles are not configured");
        (int Rows, int RowBytes) shape = _shapes[register.GetNumber()];
        return shape.Rows > 0 ? shape : throw Fault(instruction, $"#UD: {register} is not configured");
    }

    // An index register is what lies between two rows; without one they would be the same.
    private ulong RowAddress(in Instruction instruction, int row) =>
        BaseAddress(instruction)
        + (instruction.MemoryIndex == Register.None ? 0 : (ulong)row * General(instruction.MemoryIndex) * (ulong)instruction.MemoryIndexScale);

    private void LoadTile(in Instruction instruction)
    {
        (int rows, int bytes) = Tile(instruction, instruction.Op0Register);
        int tile = instruction.Op0Register.GetNumber();
        _tiles.AsSpan(tile * TileBytes, TileBytes).Clear();
        for (int row = 0; row < rows; row++)
            new ReadOnlySpan<byte>(Reach(instruction, RowAddress(instruction, row), bytes, writes: false), bytes).CopyTo(TileRow(tile, row));
    }

    private void StoreTile(in Instruction instruction)
    {
        (int rows, int bytes) = Tile(instruction, instruction.Op1Register);
        int tile = instruction.Op1Register.GetNumber();
        for (int row = 0; row < rows; row++)
            TileRow(tile, row)[..bytes].CopyTo(new Span<byte>(Reach(instruction, RowAddress(instruction, row), bytes, writes: true), bytes));
    }

    // Four products of signed bytes to each sum, for one row of the first factor.
    private void AddBytes(Span<byte> result, ReadOnlySpan<byte> left, int depth, int b)
    {
        Span<int> sums = MemoryMarshal.Cast<byte, int>(result);
        for (int k = 0; k < depth; k++)
        {
            ReadOnlySpan<byte> right = TileRow(b, k);
            for (int n = 0; n < sums.Length; n++)
                for (int i = 0; i < 4; i++)
                    sums[n] = unchecked(sums[n] + ((sbyte)left[(4 * k) + i] * (sbyte)right[(4 * n) + i]));
        }
    }

    // Products of pairs of bfloat16 numbers, of the first and of the second of each by themselves; subnormal numbers are 0.
    private void AddPairs(Span<byte> result, ReadOnlySpan<byte> left, int depth, int b)
    {
        Span<float> sums = MemoryMarshal.Cast<byte, float>(result);
        ReadOnlySpan<ushort> leftNumbers = MemoryMarshal.Cast<byte, ushort>(left);
        for (int n = 0; n < sums.Length; n++)
        {
            float first = 0, second = 0;
            for (int k = 0; k < depth; k++)
            {
                ReadOnlySpan<ushort> right = MemoryMarshal.Cast<byte, ushort>(TileRow(b, k));
                first = Flushed(MathF.FusedMultiplyAdd(Widened(leftNumbers[2 * k]), Widened(right[2 * n]), first));
                second = Flushed(MathF.FusedMultiplyAdd(Widened(leftNumbers[(2 * k) + 1]), Widened(right[(2 * n) + 1]), second));
            }
            sums[n] = Flushed(Flushed(sums[n]) + Flushed(first + second));
        }

        static float Widened(ushort number) => Flushed(BitConverter.UInt32BitsToSingle((uint)number << 16));

        static float Flushed(float number) => float.IsSubnormal(number) ? MathF.CopySign(0, number) : number;
    }

    private delegate void AddProducts(Span<byte> result, ReadOnlySpan<byte> left, int depth, int b);

    private void MultiplyTiles(in Instruction instruction, AddProducts add)
    {
        (Register c, Register a, Register b) = (instruction.Op0Register, instruction.Op1Register, instruction.Op2Register);
        if (c == a || c == b || a == b) throw Fault(instruction, "#UD: two operands are one tile");
        (int rows, int bytes) = Tile(instruction, c);
        (int leftRows, int leftBytes) = Tile(instruction, a);
        (int rightRows, int rightBytes) = Tile(instruction, b);
        if ((bytes | leftBytes | rightBytes) % 4 != 0 || rows != leftRows || leftBytes / 4 != rightRows || bytes != rightBytes)
            throw Fault(instruction, $"#UD: [{rows}, {bytes}] is not [{leftRows}, {leftBytes}] by [{rightRows}, {rightBytes}]");
        for (int row = 0; row < TileRows; row++)
        {
            Span<byte> result = TileRow(c.GetNumber(), row);
            if (row >= rows)
            {
                result.Clear();
                continue;
            }
            add(result[..bytes], TileRow(a.GetNumber(), row), leftBytes / 4, b.GetNumber());
            result[bytes..].Clear();
        }
    }
}
