"""Data: labelled event streams and images, the batches made of them, where they come from."""

from edgewise.data.batches import Batch, Batches
from edgewise.data.catalogue import SOURCES, RemoteFile, Source, data_dir, is_present, locate
from edgewise.data.datasets import DATASETS, load_dataset
from edgewise.data.digits import digits
from edgewise.data.download import fetch
from edgewise.data.events_from_images import events_from_images
from edgewise.data.functions import FUNCTIONS, TestFunction, load_function
from edgewise.data.idx import read_idx
from edgewise.data.image_batches import ImageBatches
from edgewise.data.images import IMAGES, ImageDataset, Images, load_images
from edgewise.data.mnist import fashion_mnist, mnist
from edgewise.data.nmnist import Recording, nmnist, read_recording
from edgewise.data.rows import RowBatches, RowDataset, Rows
from edgewise.data.splits import EventDataset, stratified_split
from edgewise.data.streams import EventStreams
from edgewise.data.table import load_table
from edgewise.data.tabular import TABLES, Table, load_tabular
from edgewise.data.text import TEXTS, TextDataset, Texts, load_texts
from edgewise.data.tokeniser import Tokeniser
from edgewise.data.tokens import Tokens, tokenise
