namespace Fude.Tensors;

/// <summary>A matrix of float32 numbers in the memory of the device that made it.</summary>
/// <param name="Address">Where its first number lies: on a CPU a pointer, elsewhere the device's own handle.</param>
/// <param name="Rows">One row a token.</param>
/// <param name="Columns">Numbers in a row; rows follow one another without gaps.</param>
/// <remarks>It owns nothing. It is valid until the block that made it has run (<see cref="IOps.Run"/>), or until the next
/// <see cref="IOps.Begin"/>.</remarks>
public readonly record struct Tensor(nint Address, int Rows, int Columns)
{
    /// <summary>Rows times columns.</summary>
    public long Count => (long)Rows * Columns;
}
